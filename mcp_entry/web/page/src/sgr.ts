/** Lines of a terminal with SGR escape sequences, as runs of one style; pure.
 *
 * The lines hold no other escape sequence (`screen` promises it); what is left of any is dropped. A wide character is a
 * run of its own, so that a view can give it two columns.
 */

export interface Style {
  /** Number of a palette of 16, or `#rrggbb`; undefined: the terminal's own. */
  foreground?: number | string;
  background?: number | string;
  bold?: true;
  dim?: true;
  italic?: true;
  underline?: true;
  reverse?: true;
  struck?: true;
}

export interface Run {
  text: string;
  style: Style;
  /** Columns that it takes. */
  columns: number;
  /** Holds one character that takes two columns. */
  wide: boolean;
}

// eslint-disable-next-line no-control-regex
const PARTS = /\u001b\[([0-9;:]*)m|\u001b(?:\[[0-?]*[ -/]*[@-~]?|.)?|[\u0000-\u001f\u007f-\u009f]/gu;
/** Zero columns, and would turn the cells around them. */
const TURNING = /[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g;

/** Styles go on from one line to the next in `style`, which is changed. */
export function parseLine(line: string, style: Style = {}): Run[] {
  const runs: Run[] = [];
  let from = 0;
  for (const match of line.matchAll(PARTS)) {
    addText(runs, line.slice(from, match.index), style);
    if (match[1] !== undefined) applyCodes(style, match[1]);
    from = match.index + match[0].length;
  }
  addText(runs, line.slice(from), style);
  return runs;
}

export function parseScreen(lines: readonly string[]): Run[][] {
  const style: Style = {};
  return lines.map((line) => parseLine(line, style));
}

function addText(runs: Run[], text: string, style: Style): void {
  let narrow = "";
  let columns = 0;
  const flush = () => {
    if (narrow) runs.push({ text: narrow, style: { ...style }, columns, wide: false });
    narrow = "";
    columns = 0;
  };
  for (const character of text.replace(TURNING, "")) {
    const width = cellWidth(character.codePointAt(0) ?? 0);
    if (width === 2) {
      flush();
      runs.push({ text: character, style: { ...style }, columns: 2, wide: true });
    } else if (width === 0 && !narrow && runs.length > 0) {
      const last = runs[runs.length - 1];
      if (last) last.text += character;
    } else {
      narrow += character;
      columns += width;
    }
  }
  flush();
}

function applyCodes(style: Style, codes: string): void {
  // A colon joins a code with its parts, as in 4:3 or 38:2::r:g:b; a semicolon ends it.
  const groups = codes.split(";").map((group) => group.split(":").map((part) => (part === "" ? 0 : Number(part))));
  for (let index = 0; index < groups.length; index += 1) {
    const group = groups[index] ?? [0];
    const code = group[0] ?? 0;
    if (code === 38 || code === 48) {
      const isJoined = group.length > 1;
      const rest = isJoined ? group.slice(1) : groups.slice(index + 1).map((each) => each[0] ?? 0);
      const [color, taken] = extendedColor(rest, isJoined);
      if (!isJoined) index += taken;
      if (color !== undefined) style[code === 38 ? "foreground" : "background"] = color;
    } else {
      applyCode(style, code, group[1]);
    }
  }
}

function applyCode(style: Style, code: number, part: number | undefined): void {
  if (code === 0) for (const name of Object.keys(style)) delete style[name as keyof Style];
  else if (code === 1) style.bold = true;
  else if (code === 2) style.dim = true;
  else if (code === 3) style.italic = true;
  else if (code === 4 && part === 0) delete style.underline;
  else if (code === 4 || code === 21) style.underline = true;
  else if (code === 7) style.reverse = true;
  else if (code === 9) style.struck = true;
  else if (code === 22) {
    delete style.bold;
    delete style.dim;
  } else if (code === 23) delete style.italic;
  else if (code === 24) delete style.underline;
  else if (code === 27) delete style.reverse;
  else if (code === 29) delete style.struck;
  else if (code >= 30 && code <= 37) style.foreground = code - 30;
  else if (code === 39) delete style.foreground;
  else if (code >= 40 && code <= 47) style.background = code - 40;
  else if (code === 49) delete style.background;
  else if (code >= 90 && code <= 97) style.foreground = code - 90 + 8;
  else if (code >= 100 && code <= 107) style.background = code - 100 + 8;
}

/** The color that 38 or 48 is followed by, and how many codes it took. */
function extendedColor(rest: number[], isJoined: boolean): [number | string | undefined, number] {
  if (rest[0] === 5) return [paletteColor(rest[1] ?? 0), 2];
  if (rest[0] === 2) {
    // Joined by colons, a color space may stand before the three parts.
    const parts = isJoined && rest.length > 4 ? rest.slice(2, 5) : rest.slice(1, 4);
    return [hex(parts[0] ?? 0, parts[1] ?? 0, parts[2] ?? 0), 4];
  }
  return [undefined, rest.length];
}

/** Of xterm's 256: the first 16 by their number, the others as `#rrggbb`. */
export function paletteColor(number: number): number | string | undefined {
  if (!Number.isInteger(number) || number < 0 || number > 255) return undefined;
  if (number < 16) return number;
  if (number >= 232) {
    const grey = 8 + 10 * (number - 232);
    return hex(grey, grey, grey);
  }
  const level = (index: number) => (index === 0 ? 0 : 55 + 40 * index);
  const cube = number - 16;
  return hex(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

function hex(...parts: number[]): string {
  return `#${parts.map((part) => Math.min(255, Math.max(0, part | 0)).toString(16).padStart(2, "0")).join("")}`;
}

const COMBINING = /^[\p{Mn}\p{Me}\u200c\u200d\ufe00-\ufe0f]$/u;
const WIDE_EMOJI = /^\p{Emoji_Presentation}$/u;

/** Columns of a character in a terminal: 0, 1 or 2. East Asian Wide and Fullwidth, and emoji, take two. */
export function cellWidth(code: number): 0 | 1 | 2 {
  if (code < 0x300) return 1;
  const character = String.fromCodePoint(code);
  if (COMBINING.test(character)) return 0;
  const isWide =
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0x303e) ||
    (code >= 0x3041 && code <= 0x33ff) ||
    (code >= 0x3400 && code <= 0x4dbf) ||
    (code >= 0x4e00 && code <= 0xa4cf) ||
    (code >= 0xa960 && code <= 0xa97f) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x17000 && code <= 0x18cff) ||
    (code >= 0x1b000 && code <= 0x1b2ff) ||
    (code >= 0x20000 && code <= 0x3fffd);
  return isWide || WIDE_EMOJI.test(character) ? 2 : 1;
}
