/**
 * The keeper (keeper.c) as a static program for each architecture: gzip, then Base64. Compiled by
 * scripts/keeper-bytes.sh with the gcc named here; a test compiles it again.
 */
import type { Arch } from '../abi/numbers.js';

export const KEEPER_COMPILER = '12.2.0';

export const KEEPER_PROGRAM: Readonly<Record<Arch, string>> = {
  x64:
    'H4sIAAAAAAACA61Wb2wUVRB/27ttr5WyR0uTI0I54hprxMKaGmxa9Lbuka1eotgrEKHSYks0NGB6e5REsG32Lul6btMESfhSTQwmTdCoQcl5EG5L' +
    'Sw/4YnOKkCAEUOwd5QQxVCzF58ze9m+I8YPvw7438+b9dt7Mb2a3w+tbl8MwZGrkkOcJSsdtHlP2WHqHY9oEdM8RGzxZYjdtWTJ7eObMP+eROTNx' +
    'Zic8l2sCW3qXZ+5sjUaDnXNu/XWlOZf892EdI+JGISmMC2fEDV4h6RUMLyzr4zbc8dfXyV03D8JS1iX+kE9v5R2y5udHYuCKR9Ykvhc3enF1JboK' +
    '7LQKXtYVfkROSPzBlajw8RdQSOG1fForfxule70gcays3pvkQh/BFqzucqEPYSUk5bDB9fRklSu5cAesIn7+kDph40Kvg9BerE4wypPqRA4XWghy' +
    'ugEe6oSdC/vRVOL719IXwCxvuLPxoEQY4aKs7uXvcbtL5ShjBViulHhnsFAGa4esb7otD4zlCBkxjlEXT6AF4siVl7hQGASJO9q88ksxsvdzp6hO' +
    'Lm9fn33DS6qRMx20gSusT5uo0SvcUZ4xbxc29pSB5/2SNi5pV7//Nb/iQOMFiVSV3C2xEVkbaXNSQ2NTIIzlUvYnmBHLgotiBmTtR8Chp9I7KaXZ' +
    'dwYA8bNwUtkBt9skEQKTCyZtcbjR9SIZ80e28P1Vy/YDWEDW37XNuDfKRr8246u3U/WWm2MFY1jFABHN3od+jbmylideBaCYHQkQQ65ybMwMWdcQ' +
    'MkEb2dwgbhEbxDfErYP10/B12v3oItiOAfOJviNn4DoL1OmGS+j7SpES3WZA3iuUtZP6vuVmIjgWHIA7MACNlpsbBgHMp/v4cTFWgO+6LSR92kAt' +
    'NcQ/76gnV9d0++13tTvasDqR336tVrfnv++UaaJ7IwVUmZ72VZ4NZnyaMShunOHyBiF54oc8D4n24Y3q49wMs0+bTogxh8lwhXdGF5pBP48cdSJT' +
    'cBcrPLrC5ON31LTl2AS7ZDFDMEVCxivQBFsEIoZse4IthCWDi8liXAiGeBwrV7joFTJYKS5Ed3v27GMS7P5ibCyEVC27WmwjonaZU38HcTybEYYL' +
    'nQep85iZaS58FgRvmAYLQYOJ40LR7LbL3D6Mb0lKWjNvn6FRP4N1N5plEkQpbARfiVT0IVniuTWERFvIFFnXzDUGy3xIEGAzY3XWkWncOCbbOms5' +
    'ECyPlCSKILj0FJBb0vhzHpdIqCFpFQfc0Ly2J+znJNAwRGM/BjuZDtaqQ+40AW57wxmlQNb9vEt98MTuHKsOzsQRIcphWT/bitBRx6zG8cnflGKz' +
    '6C6EEAbzoEx6QbNdXdtTBCeUGkypPO2xYMQxQbHOLALsLZiJ0lpipRcOejBQwwDcUXAMc5NeA0op0sovEDsfdHChI8hMYOovUtXjTxVBnR0RO4/z' +
    '2RyEemCzpmrppxgsLtxpEmsvv/pb7Mw+eGeZdlmOBpQmJRhwE2RDmWD8cRhtVqXoJKWS9ptP3+QYluyr3C/r1aWpG6CElGRdrWUGZShk9BgLqFav' +
    'Y2qGpaVlBbKa2OrTxoGuwyHerClzgT7V0qH0axSRU+JAxskdHRK1k2LXA/RNeVRUJ4qDM13CzGgcv0hjj4nqjWJTBhu7vIROG3WNMjUYrkSekEx/' +
    'ZYa8+tI6yBRRFkSq+zDXqWv3ITd0sGrZN1BHbZchKb87sSuGMnCfVPdflAK91ptNblbTk7WEyb0EGwNrcJpGSk47oS8aUE5fIACpHAmskKmhVoe3' +
    'QIUQ5Ra2bdxI7wdkIZP+AKdZfXTUKmnEfbPp7UBg186nd7S0vNPSRkh54K2A0qY0bSPlSssehZS37WpuUppI+bZAgPxP45HZ33QYKev7n7Lkm/M+' +
    '2sy884ss3TOWjL0sO2dljjz8/NS8xPqVsJF5/xOOef8R1nA/BM/2kHtN/beUkn/3/x+izgErSAkAAA==',
  arm64:
    'H4sIAAAAAAACA6VWbWxb1Rl+zz03jp1krhOVtUmg9k26qs0g7UZSHIkpNzHrSilCJJaKxI/YdVO5tWhxE2kxadXbdRrZXLFevgqV2hoQUuwffAkN' +
    'e39mtClCgiF6O+3HJMq1oUn6AaQBRk1b7p5jX1eJt0mTdqT3nq/3+zzvuefwz7dvkRijapPoHRKz47Janqv2+keuWyxY8xPH10F1Zd46WtrUZf20' +
    'LTd9S57d+jpA81Zldd4aWNZX2/p83TK5hy+M73LQ/9481YGTmp29msFIMyQQRduHOXoZVEdinf7mJbpqrjrTlucjf7cCdPYzTpktTBsi7Hc6Z9ou' +
    'YE4y6XMRX3Lnrx3tg3lqLi54/UXOugqcd42spfh731vBYuRHSWFnlrP3/0Ts8pbobv9voopfgWzYsoLQrQsb89AnbJucZQpcyhQ5z3zK5Yxs+yN4' +
    'bk6+ltbq4LNTM25y0q+8AjrK0maEdPMeKlGLZnwekPR1kClEmD7VJuKbXlwam7WRSlaEcrP31KfNAJVCYi1JuXLMHnpTXv3AH1OMgiL+Bz3o36Cr' +
    'Cubmj9Wct4nimpuCTrEvU9wUvRNrjRT0kTZ0c9KYFn5CT/wIYitsVHOm9eRQP1FsiiiocjpOm0h3bFX8ZkAtee+lqxtkChYeUksmp7fAd/klTsHZ' +
    'B9TSjEpnZ24MnpsjWtgLublUv77tJ6S74O+X0Cl09zPH5bAE32wb89eR77vV3MvXrZ4CzsFn2/Mi37RkrEmVsTShZA3LWuUQ54NeY65k4ya1L+Vy' +
    'Jd0e6KcVsfXw7/AhiuN8ggpwY3J3xsmRV5YywrexxlrcpKRr75jwrQP5GPS93/Ypp66BRCSrkIS+M1sg5JFYLIJ8AD/NJlGuAJ1CB7fx6KvXjA11' +
    'pE9a1okZ+GXKaq7MK1PuGzFHTmZhg+Yfyn2CuDu+toLvwjdts8CZo6sDeFZAgwepeS90hKqxT6zLqrfysM7/DHQVoWsQuT1ajmPKGCSeDGOcb9WM' +
    'RyH7O/AA80O/RW8FPGfrYWcWMRWA2znYiAosTlLanKBmgUlJq8RRW0t/RbzIBXDNMgSZAnwLQH/1jBTYYFvX+W9OqmnY0St4fz1dzYvQXWCoj5Ui' +
    'R3R8cFOn/tUwS48/9ZTRc+y1xW8eldJfIZa39324+G2Ep8de7tcbobMUk9MbhB1KGUXUhMwq+kRNmqgF06MZCvZ/CF6Zjoj1p1WXZvOmFjn4W7G/' +
    'A/shRgstC/068jO0UjYX2Y0VOQ3j26BLbaCcqAH0CbWNEk2I60ng7BgwO4f4yPl7Yz/W/KCLvCnzOa/PfIm91XeTntqYWhQYdEO+D/RL6LK4Ix2S' +
    '1NwlnKeXHLEocH74FMWLR5n+lxfVJ8INqC3ekhn0nDm53mXnnC3JOWrZRD2I3Md+QMGBegrG6qj5HwI/id0CB5sptlvURe8fiHqruCDcTyGJenxM' +
    '7fNJ1Gvyhq63v7dOqBgLm+qe9mHcv80fQlfHwUPnApKUVPd2ZH3AZwh+C2zSR/16wkmJhkeU7AzuOYHlOQ/pH8C2wP+0G/hSp8pY/7f6Yagf2DwB' +
    'mxrBD+TDx6jvizJW1VwVD4qkGSnoeQt8ZV9R8xfAo67JJ1LwfyPiEfkt4j4sy+Ccj4gzR229CpkOcUcO44704f7Hmdfek8KXIvAq8ncn7oAriOsS' +
    '8n3sbL9+P/ZDDaKOXbH5Btxr7nxCW7B6XoBeaqJeEVfYruOqv1PY24nzhK2WMHxTfKQjp2JujLgpMYI6jroouPQeEBjNN2pGArKXdiD3d1CL9waL' +
    '++ooeJFLXdeAo9Kfmf7dJ0x3C58k4ZM7tqFkBYmrfRqnnlRiX7afUUzB/VXgri6Tt2W+3lGftg4709ugl8nakBO+DMR8/gLy7uPO5H1Y54yS716c' +
    'PKfin1fkrRnlICvn0Rfr9Iv6jeBch8Hn5dQnzsjc0+0HJvTV9aSfF+fws63nth3yDI8wKU7iP7Gd4gXxr/WcaZNvV58WZxeA/Glxv2ynh8We+L/Q' +
    'wJShaNrJa0LHXflECBjQEnuyBfAKHG1TSH9JyMB+50QoG/in1SPqfDOoE+tijHpeFQnvGRvbv++u2Ojo46MHlv//2RNDJE+sYe1N3vLaatCVby1r' +
    'k72/EnSneCbAiV1iYcDt2eGuyN8HCmJ9rc3rAz0C2oU1/FcEb0o6tfZ0Z7Th/MduGmi0eQ6C8t9Z1uMVfcedvzj1K3b6CBv++Ly7/LYBpUBN1y3r' +
    'XrnCI53qOK1sfcb3rPf+59Y8f8eJ219of7HtZCtR91h0bPzAeHgndY+PToxT94H9u8LjYeoejY7sPhB+bJS6d46N0f/bGpe8zcrvMfsdN2/PP6tf' +
    'zi/XyDfb8j+15x84VbuvzFfU8LOavtUeS/bctOVNW/69GnlnzbzTXuNU+66sfU/+Z//ZEtmlrfp+Xf9f/K+2fwHHXR1IUAsAAA==',
};
