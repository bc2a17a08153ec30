/**
 * The keeper (keeper.c) as a static program for each architecture: gzip, then Base64. Compiled by
 * scripts/keeper-bytes.sh with the gcc named here; a test compiles it again.
 */
import type { Arch } from '../abi/numbers.js';

export const KEEPER_COMPILER = '12.2.0';

export const KEEPER_PROGRAM: Readonly<Record<Arch, string>> = {
  x64:
    'H4sIAAAAAAACA6VUXWgcVRS+szMTU2y4myYLCjbdh3mIUCMjKSQkrTt1tlxwFbVJW7DCpm5CpcGGnYkJ2NaE2aW5rCMK5kXIm29SVBQZtpJsGt' +
    '11H4o1BX+wBRWablilvhgXGns9Z2Y3bkoQwQszZ75zz8935px734gnjoQkiTRWiBwiiD6RYj6ONTbULRPQ9REZ3ipRfNumrSaPQP6ikG2ShAOB' +
    'fi3NcSOx7bK+kjPKNr/nb9mpFvLfV92NDMf11bheiOvlo/yu1w6aPLAn7pnQ8i2Vzf46JwM438VcW5ujKssWLrQxfsU9v89DplQtOsnIU0Ris1' +
    '+g5YsvrZi5tt2dMtELejmPJiX1UkdQlsELZv9X1jMbSjY5Dz72oRkPncnkgayY3AVgGIDdbfIi/0ZcWV5TTa64USh8rKRcNSMGRHGKMd57NQbf' +
    'H0tMFKofZMp2C488CylWjONbtRjHFq8rMeItQFp91Rheoph/aPgoVIRcqFpSj3VI0C3YF3F9Y6ykJgBLpDIohLhMwSZ3oLaHED9kGWJ4rWDL+P' +
    'dLmBz+hFPbtG/A/6Bzb4YIuYwFDuwtgof1yJgzePMIWBF7d25wAQuozN8TgomV6o0x5+DaHmSQYeDGXFML66v6hl5OuOPaBOOKFhTB+JDWB5mX' +
    'kKL3OLy4rZ3OwxDEsBd9rGRqrd2oTmgxxlMaQ81zSCPBx7UTiJJv+y1CqjTzA2zB1x808zV+AfG3ZgNVN81+jvUCFacm08zTAKY6nJpkP+rUQj' +
    'RzF6KsvwdKp6bQ7DuBaedB8SSYPVCcwa5J+o/MOacl6WtdzB8MfFi/qU1PtjGwnmDuid/ZcjWk/2Ys4R5GYP03aeYiAJN+ltr/kJE7dykcRH3B' +
    'cDb3TSWcQmiro8s/qXlCWslhtzfqaX4LoYbp7tyQ1mnyeyb/+frart55HKyBSK5dhlZdS4dFgasXAFRbhJoGidHqAT3Z7+e3EEd8uT4OXfdz04' +
    'sfgR6qwsFcfx+pntQ6B/b2gTd13gXsvi7/w+q26n0q4Yy5U8K5E6WqXoATgXPMlQUkU00FlosMAnr7cQzzeAXkFb831XgTJcZrPqGSmg9LBBiJ' +
    'XKQQxrME4/lhGP9b/zUrCnPvDGZPzuNhuWMsotrkf1acTSHWD/8lRHORt/0iv/PDvjzyimWdffWxM6OjE6NpQnqs05adtkdOkR57dNomPemzqR' +
    'F7hPScsizyf9eDzXcZrEr93qvUcVXebi/d599e1z1Rx3icAxlgSnb2b8iHCU4LIVtpGvenet/9WV/RHeLJO9TVuK+7yL/z/xvH7375QAYAAA==',
  arm64:
    'H4sIAAAAAAACA6VVX0xbZRT/ffe2pZWtUARlQ+0uKIHOEaPdrMmSXvAfG3sRavSNtqympHEblAc6WbyyREnwgaszPhi1ZDEBliXqC61PTYwENZ' +
    'rtTn31lih0oK6IJjT7cz1fuYXSuMTELzk93znfOb/v/Ov9Xn/2xHMCYygtAfPgUp7JRVk29Y22bRPS+SDSrw3Woq0V5UvexfPmYX7biG3/csic' +
    'saXNGZ27eGk1KpZdfi/8OnLShv++ak3+C4UwnvSrEpTerwRMvUk0wJBfIf0M7T8B1AWiAd2v/i4yz8oVv2pnUE9Y5LSDfN7I1aQFKNqqKHg+Zk' +
    'JsAggcA7xcnxH7f7o0Gk6tMRz5Nhr2XWI4HAQOVw+GfT0M3oNj564dG2zqO4XqyXbGXKsvSynJAtdg9GCqnbC/cyDRZYF63TDur7LDZYi1V5dF' +
    'eLIi1JVoU1/Urmj6KFyComgixWAhshJRRX5wA+uXKZYlEXN2bjcGF9crlBOlXcyXdbf6CFPlcd5+7fIsnU/l6hXtNuHrTNGkfIPKcyvH3uhjs3' +
    '/fiwLHClKdblCd6qg2G8Qb6J4b0341rvnVEOHXEzVg5k+2WZM+QHv5HiRA/KJhvJ9lcloX6+baHIq2fQcri78Wn+l3jADu25xfJTuqh6aTjxuO' +
    'WLcVAdmZSSQt8MKqaGsiU9dEcVb/Eupv5wVV96OAOkVrJZ/sRaYuiQ1zE/t352E8iYIRR3r5Cfus3oNCkOs+QLp0t6Wx54skQ4DX8VAt8STWJZ' +
    'L1pymGPRhKOhHI8XMLhjICcTuG5Go6F+s9McpvkXomP5hJUL+9wbODqSnStVuhHpegfk9ndMfQNOWXfZ7qYLzV6weKs5M0+2Prlnx6j1xwH8X6' +
    'dcLPviQXdBGfk91aiOTlPrmwIOPqwq2ua9+Qz3GaySrK4Q/CeoxqzHEN2NY6ecwmfttNI1Dqv5vwf6Q4bOSTJx5kVZOOA/JTiqNqcm+tnPbDGe' +
    'u2IOA/hyE7cYnmTxf3ztlF6hdLalIDq66cuYywOa/TvY7mr/fT3Hk6E+GUBAfx5lTWynvHYgOUI2jGdSvSHK+tivuWzUAZ3oplq1a6Q04XfRxI' +
    'b3CZsJbpnp8pp/G/jECGYps4soPB6L/BcUBcornfiQ9Ty6LNU8x/tDVVqrU72up7h3Cz1JvFfYrGZ2G8iDVR9JukMx5nEDuxcv0SxUHzXDctIC' +
    '/l/aosgMtavxOJfl5vqv1iNcWBu+dIeakto8HU+TuG10t9O0N3DYQG4/HTpw7FIpEzkeHd3yt2theW0YdY0x53UddIdPSmYcyY5/VEjxJdIV2Q' +
    'K7qciv1FJx6g7TPc/pZhvC3SptP5qfBh60eP9Lz78IWW95rREY/GR4ZHQmF0jERGR9AxfPpkaCSEjki0/5Xh0KsRdITjcfzfVV32jS9+1833IG' +
    'fKFyy77StEuEz/x015zCqbfEuuqbBnFXyfuRdMecr0nzL9gxX+9gq5xdSJqHyfKt+lf4+flfmWr9I72HaX+EvrH0JZjaeYBwAA',
};
