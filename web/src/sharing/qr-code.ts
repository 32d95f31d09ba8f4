/** QR codes (ISO/IEC 18004): bytes, error correction level M, versions 1 to 10, which hold up to 213 bytes. */

interface Version {
  /** Codewords for error correction in each block. */
  readonly correction: number;
  /** Data codewords of each block. */
  readonly blocks: readonly number[];
  /** Centres of the alignment patterns. */
  readonly alignment: readonly number[];
}

const repeat = (count: number, size: number): number[] => Array.from({ length: count }, () => size);

/** Table 9 of the standard, level M. */
const VERSIONS: readonly Version[] = [
  { correction: 10, blocks: repeat(1, 16), alignment: [] },
  { correction: 16, blocks: repeat(1, 28), alignment: [6, 18] },
  { correction: 26, blocks: repeat(1, 44), alignment: [6, 22] },
  { correction: 18, blocks: repeat(2, 32), alignment: [6, 26] },
  { correction: 24, blocks: repeat(2, 43), alignment: [6, 30] },
  { correction: 16, blocks: repeat(4, 27), alignment: [6, 34] },
  { correction: 18, blocks: repeat(4, 31), alignment: [6, 22, 38] },
  { correction: 22, blocks: [...repeat(2, 38), ...repeat(2, 39)], alignment: [6, 24, 42] },
  { correction: 22, blocks: [...repeat(3, 36), ...repeat(2, 37)], alignment: [6, 26, 46] },
  { correction: 26, blocks: [...repeat(4, 43), 44], alignment: [6, 28, 50] },
];

// The field of 256 elements with the polynomial x^8 + x^4 + x^3 + x^2 + 1.
const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let power = 0, value = 1; power < 255; power += 1) {
  EXP[power] = value;
  EXP[power + 255] = value;
  LOG[value] = power;
  value = value << 1 ^ (value & 128 ? 0x11d : 0);
}

const at = (list: ArrayLike<number>, index: number): number => list[index] ?? 0;

function multiply(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : at(EXP, at(LOG, a) + at(LOG, b));
}

/** Return the codewords that correct errors of a block (Reed-Solomon). */
function correctionCodewords(data: readonly number[], count: number): number[] {
  let generator = [1];
  for (let root = 0; root < count; root += 1) {
    const next = [...generator, 0];
    for (const [index, coefficient] of generator.entries()) next[index + 1] = at(next, index + 1) ^ multiply(coefficient, at(EXP, root));
    generator = next;
  }
  const remainder = [...data, ...repeat(count, 0)];
  for (let index = 0; index < data.length; index += 1) {
    const factor = at(remainder, index);
    for (let term = 0; term < generator.length; term += 1) {
      remainder[index + term] = at(remainder, index + term) ^ multiply(at(generator, term), factor);
    }
  }
  return remainder.slice(data.length);
}

/** Return the data and correction codewords of a text, blocks interleaved. */
function codewords(bytes: Uint8Array, version: number, { correction, blocks }: Version): number[] {
  const capacity = blocks.reduce((sum, size) => sum + size, 0);
  const bits: number[] = [];
  const push = (value: number, length: number) => {
    for (let bit = length - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1);
  };
  push(0b0100, 4);
  push(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) push(byte, 8);
  push(0, Math.min(4, capacity * 8 - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  const data: number[] = [];
  for (let index = 0; index < bits.length; index += 8) data.push(bits.slice(index, index + 8).reduce((sum, bit) => sum * 2 + bit, 0));
  for (let pad = 0; data.length < capacity; pad += 1) data.push(pad % 2 === 0 ? 0xec : 0x11);

  const dataBlocks: number[][] = [];
  let start = 0;
  for (const size of blocks) {
    dataBlocks.push(data.slice(start, start + size));
    start += size;
  }
  const correctionBlocks = dataBlocks.map((block) => correctionCodewords(block, correction));
  const interleave = (lists: readonly number[][]): number[] =>
    Array.from({ length: Math.max(...lists.map((list) => list.length)) }, (_, index) => lists.flatMap((list) => list[index] ?? [])).flat();
  return [...interleave(dataBlocks), ...interleave(correctionBlocks)];
}

/** A square of modules: dark ones, and which belong to the function patterns. */
class Grid {
  readonly dark: Uint8Array;
  readonly reserved: Uint8Array;

  constructor(readonly size: number) {
    this.dark = new Uint8Array(size * size);
    this.reserved = new Uint8Array(size * size);
  }

  isDark(row: number, column: number): boolean {
    return this.dark[row * this.size + column] === 1;
  }

  isReserved(row: number, column: number): boolean {
    return this.reserved[row * this.size + column] === 1;
  }

  reserve(row: number, column: number, isDark: boolean): void {
    if (row < 0 || column < 0 || row >= this.size || column >= this.size) return;
    this.dark[row * this.size + column] = isDark ? 1 : 0;
    this.reserved[row * this.size + column] = 1;
  }
}

function drawPatterns(grid: Grid, version: number, alignment: readonly number[]): void {
  const { size } = grid;
  for (const [top, left] of [[0, 0], [0, size - 7], [size - 7, 0]] as const) {
    for (let row = -1; row <= 7; row += 1) {
      for (let column = -1; column <= 7; column += 1) {
        const ring = Math.max(Math.abs(row - 3), Math.abs(column - 3));
        grid.reserve(top + row, left + column, ring !== 2 && ring !== 4);
      }
    }
  }
  for (const centreRow of alignment) {
    for (const centreColumn of alignment) {
      const isFinder = grid.isReserved(centreRow, centreColumn);
      if (isFinder) continue;
      for (let row = -2; row <= 2; row += 1) {
        for (let column = -2; column <= 2; column += 1) grid.reserve(centreRow + row, centreColumn + column, Math.max(Math.abs(row), Math.abs(column)) !== 1);
      }
    }
  }
  for (let index = 8; index < size - 8; index += 1) {
    grid.reserve(6, index, index % 2 === 0);
    grid.reserve(index, 6, index % 2 === 0);
  }
  if (version >= 7) {
    let remainder = version;
    for (let step = 0; step < 12; step += 1) remainder = (remainder << 1) ^ ((remainder >> 11) * 0x1f25);
    const bits = (version << 12) | remainder;
    for (let index = 0; index < 18; index += 1) {
      const isDark = ((bits >> index) & 1) === 1;
      grid.reserve(Math.floor(index / 3), size - 11 + (index % 3), isDark);
      grid.reserve(size - 11 + (index % 3), Math.floor(index / 3), isDark);
    }
  }
  drawFormat(grid, 0);
}

/** Write level M and the mask beside the finder patterns. */
function drawFormat(grid: Grid, mask: number): void {
  const { size } = grid;
  // Level M has the indicator 00.
  let remainder = mask;
  for (let step = 0; step < 10; step += 1) remainder = (remainder << 1) ^ ((remainder >> 9) * 0x537);
  const bits = ((mask << 10) | remainder) ^ 0x5412;
  const isDark = (index: number) => ((bits >> index) & 1) === 1;
  for (let index = 0; index < 6; index += 1) grid.reserve(index, 8, isDark(index));
  grid.reserve(7, 8, isDark(6));
  grid.reserve(8, 8, isDark(7));
  grid.reserve(8, 7, isDark(8));
  for (let index = 9; index < 15; index += 1) grid.reserve(8, 14 - index, isDark(index));
  for (let index = 0; index < 8; index += 1) grid.reserve(8, size - 1 - index, isDark(index));
  for (let index = 8; index < 15; index += 1) grid.reserve(size - 15 + index, 8, isDark(index));
  grid.reserve(size - 8, 8, true);
}

function drawData(grid: Grid, words: readonly number[]): void {
  const { size } = grid;
  let bit = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    const isUpward = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step += 1) {
      const row = isUpward ? size - 1 - step : step;
      for (const column of [right, right - 1]) {
        if (grid.isReserved(row, column)) continue;
        grid.dark[row * size + column] = (at(words, bit >> 3) >> (7 - (bit & 7))) & 1;
        bit += 1;
      }
    }
  }
}

const MASKS: readonly ((row: number, column: number) => boolean)[] = [
  (row, column) => (row + column) % 2 === 0,
  (row) => row % 2 === 0,
  (_, column) => column % 3 === 0,
  (row, column) => (row + column) % 3 === 0,
  (row, column) => (Math.floor(row / 2) + Math.floor(column / 3)) % 2 === 0,
  (row, column) => ((row * column) % 2) + ((row * column) % 3) === 0,
  (row, column) => (((row * column) % 2) + ((row * column) % 3)) % 2 === 0,
  (row, column) => (((row + column) % 2) + ((row * column) % 3)) % 2 === 0,
];

function applyMask(grid: Grid, mask: number): void {
  const isMasked = MASKS[mask];
  for (let row = 0; row < grid.size; row += 1) {
    for (let column = 0; column < grid.size; column += 1) {
      if (!grid.isReserved(row, column) && isMasked?.(row, column)) grid.dark[row * grid.size + column] = 1 - at(grid.dark, row * grid.size + column);
    }
  }
}

/** Rate how hard a code is to read: the four penalties of the standard. */
function penalty(grid: Grid): number {
  const { size } = grid;
  let points = 0;
  let darkCount = 0;
  const lines: string[] = [];
  for (let index = 0; index < size; index += 1) {
    let row = "";
    let column = "";
    for (let other = 0; other < size; other += 1) {
      row += grid.isDark(index, other) ? "1" : "0";
      column += grid.isDark(other, index) ? "1" : "0";
    }
    lines.push(row, column);
    darkCount += row.replaceAll("0", "").length;
  }
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) points += run.length - 2;
    for (const pattern of ["10111010000", "00001011101"]) {
      for (let found = line.indexOf(pattern); found >= 0; found = line.indexOf(pattern, found + 1)) points += 40;
    }
  }
  for (let row = 0; row < size - 1; row += 1) {
    for (let column = 0; column < size - 1; column += 1) {
      const isDark = grid.isDark(row, column);
      if (isDark === grid.isDark(row, column + 1) && isDark === grid.isDark(row + 1, column) && isDark === grid.isDark(row + 1, column + 1)) points += 3;
    }
  }
  return points + Math.floor(Math.abs((darkCount * 20) / (size * size) - 10)) * 10;
}

export interface QrCode {
  /** Modules on each side, without a margin. */
  readonly size: number;
  isDark(row: number, column: number): boolean;
}

/** Return the code of a text, or null if it is too long. */
export function qrCode(text: string): QrCode | null {
  const bytes = new TextEncoder().encode(text);
  const index = VERSIONS.findIndex(({ blocks }, candidate) => {
    const headerBits = 4 + (candidate < 9 ? 8 : 16);
    return bytes.length * 8 + headerBits <= 8 * blocks.reduce((sum, size) => sum + size, 0);
  });
  const found = VERSIONS[index];
  if (found === undefined) return null;
  const words = codewords(bytes, index + 1, found);
  let best: { readonly grid: Grid; readonly points: number } | null = null;
  for (let mask = 0; mask < MASKS.length; mask += 1) {
    const grid = new Grid(17 + 4 * (index + 1));
    drawPatterns(grid, index + 1, found.alignment);
    drawData(grid, words);
    applyMask(grid, mask);
    drawFormat(grid, mask);
    const points = penalty(grid);
    if (best === null || points < best.points) best = { grid, points };
  }
  return best?.grid ?? null;
}

/** Return the dark modules as the path of an SVG, one unit each. */
export function qrPath(code: QrCode): string {
  let path = "";
  for (let row = 0; row < code.size; row += 1) {
    for (let column = 0; column < code.size; ) {
      let end = column;
      while (end < code.size && code.isDark(row, end)) end += 1;
      if (end > column) path += `M${column} ${row}h${end - column}v1h-${end - column}z`;
      column = Math.max(end, column + 1);
    }
  }
  return path;
}
