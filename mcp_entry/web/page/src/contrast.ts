/** Colors of programs made legible; pure. A program may choose grey on grey, which some can read and others cannot. */

/** That WCAG asks of text of usual size. */
const LEAST_CONTRAST = 4.5;
const STEPS = 20;

/** `foreground`, or a color nearer to white or black that can be read on `background`. Both are `#rrggbb`. */
export function legible(foreground: string, background: string): string {
  const under = partsOf(background);
  const end = luminance(under) < 0.18 ? 255 : 0;
  const own = partsOf(foreground);
  for (let step = 0; step <= STEPS; step += 1) {
    const mixed = own.map((part) => Math.round(part + ((end - part) * step) / STEPS));
    if (contrast(mixed, under) >= LEAST_CONTRAST) return step === 0 ? foreground : hexOf(mixed);
  }
  return hexOf([end, end, end]);
}

function contrast(one: readonly number[], other: readonly number[]): number {
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

function luminance(parts: readonly number[]): number {
  const [red = 0, green = 0, blue = 0] = parts.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function partsOf(color: string): number[] {
  return [1, 3, 5].map((from) => Number.parseInt(color.slice(from, from + 2), 16));
}

function hexOf(parts: readonly number[]): string {
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
