/**
 * The keeper (keeper.c) as a static program for each architecture: gzip, then Base64. Compiled by
 * scripts/keeper-bytes.sh with the gcc named here; a test compiles it again.
 */
import type { Arch } from '../abi/numbers.js';

export const KEEPER_COMPILER = '12.2.0';

export const KEEPER_PROGRAM: Readonly<Record<Arch, string>> = {
  x64:
    'H4sIAAAAAAACA6VWb2wURRSf7d2210rdg9KkBChHXGJNoLCmBmuL3tY9MtVLFNsCCSAttkQDAdPboySCtNm7pMuxpNGQ8KUfREyaoIkEg2dBbk' +
    'tLD/hicwYhQQig2DvqCUKoePwZ39vb/g0xJs6HnXkzb37z5r3fe7N7fP6VORxHxloOeZWg1OvwWrJ3bME1rgJzLxMHfHnitHR5Mrl5p/TX88iU' +
    'nrizHe7LnYxb4p3a263R5KfsW3VTbc4l/73Z24i8RkpIo9I5ebVPSvgk0wfDhpgDV+ob6mjH7wdhSA1FPOw3toouqteLQ71gipfqitiFC104uh' +
    'ZdCnp6hUgNVRyicUU8uBgn/OIlFJJ4Lb++VbyD0oMukASeag8eCSEFlmB0Xwi9AiMpQcOmsH9fdnKxEF4Eo0i9eFjLOITQOhDairQMp76gZXKE' +
    'kAByygEfLeMUwhlAjShizwr2GqjlDbY3HlQIJ12m2i7xgbCjlEY528G0UhHdwUIK2i5qrL1D+0ZypLQcQ6/Lpzgbh1ZeEUJhEBThePPir+XIrq' +
    '/csvZoQduq7AlvaGbOuNP6rvF+PVNjVHiiImfdLmzuLAPLexR9VNGv//hbfsWBxksKqSq+X+wgVB9qdTNT55MgjOQy/mfoEcuGi2IEqP4T4LAz' +
    'qW2MseyZcwDxS7jZWoUQ6Eqg02eHG0teJ71o9sjqyHqxp2r+J4AWSBsfOSbsG+aj31gONtqYdtsj8JI5qKGHiO7sRsNGvs9qnnob0ZzIgF4kq8' +
    'CPfE47BpAH+tC6DfJ6eYP8rryxv2Ecu05/GJ2JuQG8J8aWnL6bPBCnE65g7C5FQnRa7vi4kOqnjd0LrDAIPJwOt+AAGjXXbegHML/hF0fl3gI8' +
    '646U8Ot9tcyU/7qrnV5W01nvvK/f1Qe1TH7bjVrDmb/XTVm8cw0DVMrO+ivPB9N+3eyX10wwebWUOJXI85JoN16nISZM8PqsZYTc67L4rYru6L' +
    'OWyy8iQ93IE1wlLheJLrTY+AOzdAU+zs+dzREMkJT2SSzOzwYR/bU5zgsw5HDwpAgHkimfxLyVLvukNOZJCaJ7vDt3c3H+QBGWFUKq5v9S5CCy' +
    'flXQ/gRxNBsOTghdBKn9hBVrIXweBF+YBQthBqMmhKLZ5RJr+QieklD0ZtE5QaIeDrNuOMsj8FLYDL4VqehGusRyawiJtpAxqi6fqgya+RAgwO' +
    'ZG6uwt47gxDLa91zYgWB4pPjcLnMvOALUVXbzgLZEJMxW94oAHStfmuPOCAjMc0fnPQI+y/lptwJMiwGxfOK0WUKNeLNEeP78jx86CczFEiGKK' +
    'R17ahtBR16SycegJY1gqOgvBhcE8SJIumNmsreiaBTvUGgwpHbdYMmMYoN72LAKszZjw0gpihxc2etFRgwC8p+AExia1HCaVyFZxhtz+eI8QOo' +
    'bMBKb+qlQtWjILkuyY3H5SzMYgtB8Wa6rmfYHOEsLtFrF2icu+w7rshzPL9Ks0GlCb1GDAQ5ANZZJ57wjqLE2yR4wp+h9+Y61rUHEu9bxpVJcm' +
    'b8EkhCRrai3XTyGL0WJMoFqjjqsZVOaVFVAtvtGvjwJdB0OilVPWAG2qZQOpdxgiJ+W+tFs4PiDrp+WOx2ibOlfWMkXBiRJhRTSG79HIc7J2q8' +
    'iSQcdJ57BxpY5hrgbdFc+TEqmjlsurr6yESBF1RqS6G2OdvPEQYsP6q+Z/C3nUehWCcs+NNTGUhvsk9/7NGNBrlVXiJpU8qsct7sX5k6ANRrNI' +
    '8Xk3VEUT0ukoApDKocBCykytOrweMoSot7Fo40LqU0CW0ql92E2qosN2SiPue00fBALbty3Z0tLyYUsrIeWB9wNqq9q0iZSrLTtVUt66vblJbS' +
    'LlmwIB8r/bM5PfcmhJ+91P2vKtaY81N23/THvuRVvGKpbts7JAnr5/rJ9j/0I4yLT/CNe0/we7eZ6C53jKvcb+V0rJv9v/Dy6VVlhACQAA',
  arm64:
    'H4sIAAAAAAACA6VWf2xTxx3/3rsXx04y40R0BafF7yUM0awEtibUkTrlxaGMAlLVxBKVWik2JsjUG9Qk0mISxMuY1mxGHa/tRkECvE2qsP9ot7' +
    'Vb7f2zVK0YUrdqONNUTSp9dkcSoF1DSldcoG+fs59Z8DZp0k66d3ff+/6+z/feHXp4+2aJMao2iV4nsToia+W1ZtPPuW6zgOYnjq+D6sq8dbS0' +
    'aXeMKVsudVue3f460OetCnXe6rtjrLa103V3yD12cXSXg/735qlOnNTs7NbzjPS8hE7R1kGOUUavI0GnP/uIrpp3n/ZO86G/WP10/m+cMpuZPk' +
    'DYb3ee9V7EmmQy5iJKcuf3HK2BaWouLvj8Rc46Cpx3DK2m+LkvrGAx8pWksDPL2du/I3Zlc3S3//tR1a9CNmxZQeg2hI156BO2Tc4yBS5lipxn' +
    'PuByRrb9ETy3xl9O63Xw2annb3EyPvw5+mGWNiNkmA9SiVr0/Ef9krEGMoUIM6a8Ir4zi0tjs9ZTyYpQbvbB+rTZT6WQoCUpV47ZQ7+UV2z7bY' +
    'pRUMS/zoPxF3RVxdr8qpbzNVE85KagU+zLFDfF6AStkYIK6QO3xvNnhJ/QE59EbIX1Ws60nhnoJYpNEQU1TkdpAxmOLarf7NdKvofoqkumYOFR' +
    'rWRy+hX4rkxyCs5u00pnNTp/9mZgZo5o4SnIzaV6ja1fI8MFfz+GTqG7lzmu9EnwzbYxfwM2kX/FtlN8AD4j12SvxVyXKnNpTM3OWNbdDuibw6' +
    'gzV7Jxg9aTcrmSbg9007LYWvh26CDFcTZBFZgxuTvj5MgpS+XDd7HGWsykpOuvm/CrDbkIKG97P+DU0ZeIZFWSMLZnCwR/iMUiyAWw02wS5QrQ' +
    'KXRwG4tKvZ6/r46MCcs69nv4ZcparswrU+5TsUY+ZmGD5h/NvY+YA9es4BvwTd8oMOboaAOWVfTABDXHoCNUjX1sTVa7nYc1/hegqwhdAeT1cD' +
    'mOqXyAeDKM+fRKPf8kZJPgAd4HfojR6vecr4edWcRUAGbnYCMqcDhOaXOMmgUeJb0SR20d/RHxIhfANMsQZArwbRP0V89JhQ22ZY3/1riWhh2j' +
    'gvVX0tW8CN0FhtpYLnJERwNKu/HJIEuPPvtsvuvIy4ufPiGlP0Esr+19Z/GzCE+P/KzXaITOUkxOdwg7lMoXUQ8yq+gT9WiiDkyPnm/D/pfBK9' +
    'OkoD+nuXSbN7XIwe/F/g7shxgttCz0GsjPwHLZXGQ3l+V0zO+CLq2BcgL/GBOalxJNiOsZ4OwI8DqH+Mj5o/w+0Pzol3hT5iNen/kYeyseICO1' +
    'PrUoMOiGfA/6d6DL4o50SNJyl3GePnLEosD4oZMULx5mxlvHtQPhBtQVb8kEPKdPrHXZOWdLco46NlELIvexL1Gwr56CsTpq/qvAT2K3wMFGiu' +
    '0WddH9G6LuKi4Id1NIoi6FaT2KRN0mb+j49RfWMQ1zYVPb0zqIu7f5Hehqmzg40y9JSe2ptqwCfIbgt8Am/anXSDgp0fC4mj2LO05gec5Dxh9g' +
    'W+D/jBv40qbKWP+3+mGoH9h8ETZ1gh/Ih8Ko5+9lrGq5Kh5USc+noOdV8JV9vWF1XQSPtmo6kYL/6xGPyG8Rd2FZBuc8Kc4ctfUSZNrE/TiI+1' +
    'HB3Y8zr70jhS9F4FXk737cAR8irsvI95HzvcYj2A81iDp2xeYbcKe5pxP6gtV1HHqpibpFXGG7jqv+/gB7O3GesNUShm+qQgZyKtb5ITclhlDH' +
    'URcFl94DAqPTjXr+AGQv70Du76UW300WV+ooeIlLHdeBo9KbzPj8fWa4hU+S8Mkdu69kBYlrPTqnrlRib7aXUUzF/VXgrg6TezPXdtSnrUPO9D' +
    'boZbI+4IQvfTHFX0DeFe5MPgw6Z5R849L4jIb/XZGvzKgTrJxHJdbuF/UbwbkGwefj1CPOyNzT6QcmjBX1ZFwQ5/CNLTNbD3oGh5gUJ/GP2E7x' +
    'gvjPek575Xu058TZbYL8KXG/bKfHxJ74t1DfVF7V9RPXhY5104kQMKAn9mQL4BU42qqS8VMhA/vtY6Fs/z+sLlHnG9HbQRdzFWMkvGdkZN/edb' +
    'Hh4aeH9//rv88ODJA8toq1NvnKtBXo1z6zrA32/nL0+8U7AQ7sEoQ+t2eHuyK/Cf1J0FfbvAr64+jfAm1CKvOmpJOrT7VHGy6856a+RptnAv2t' +
    'zy3r6Yq+o85vnvwuOzXJBt+74C6/acR7SNi8YVkPyRUe6WTbKXXL88oLvkd+vOon9x6758XW494TK4k6R6Ijo/tHwzupc3R4bJQ69+/bFR4NU+' +
    'dwdGj3/vC3h6lz58gI/b+tccmbrPwOs99v8/barL+TX66Rb7blv159Lzo1e6ysl9Xws5pxpT2X7PW7tvy7tvy5GnlnzbrdpnGqfU/WviP/s/9s' +
    'iezSVn23rv0v/lfbPwGdCKMbSAsAAA==',
};
