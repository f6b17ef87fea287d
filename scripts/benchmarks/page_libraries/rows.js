// A hundred rows as the page has them, and what is asked of each library: draw them, then change one at a time.

const UPDATES = 400;
const WORDS = ["Bash: npm test", "Edit: src/index.ts", "Read: README.md", "I have found the cause"];

export function makeRows(count) {
  return Array.from({ length: count }, (_, index) => row(index, 0));
}

export function row(index, step) {
  return {
    id: `spec_0_${Math.floor(index / 10)}_${index % 10}`,
    status: step % 2 ? "busy" : "ready",
    activity: WORDS[(index + step) % WORDS.length],
    context: (index * 7 + step) % 100,
    unread: step % 5,
  };
}

/** `draw(rows)` brings the page up to date before it returns. */
export function measure(draw) {
  let rows = makeRows(100);
  const began = performance.now();
  draw(rows);
  document.body.offsetHeight; // layout is part of it
  const first = performance.now() - began;
  const from = performance.now();
  for (let step = 1; step <= UPDATES; step += 1) {
    const index = (step * 37) % rows.length;
    rows = rows.with(index, row(index, step));
    draw(rows);
    document.body.offsetHeight;
  }
  // Clocks of browsers are coarse, so one change is a part of many.
  const update = (performance.now() - from) / UPDATES;
  globalThis.measured = { first, update, rows: document.querySelectorAll(".row").length };
}
