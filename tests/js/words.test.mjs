// What the page says about times and allowances. Run with `node --test tests/js`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { thoughtWords } from "../../static/js/tools.js";
import { nearLimit, timeWords, usedUp } from "../../static/js/usage.js";

const NOW = new Date(2026, 10, 20, 15, 30); // a Friday, on the person's own clock
const at = (day, hour) => new Date(2026, 10, day, hour).toISOString();
const usage = (daily, weekly) => ({
  daily: daily === null ? null : { percent_used: daily, resets_at: at(21, 1) },
  weekly: weekly === null ? null : { percent_used: weekly, resets_at: at(23, 1) },
});

test("a reset is said as a person would say it", () => {
  assert.match(timeWords(at(20, 23), NOW), /^at 11:00|^at 23:00/);
  assert.match(timeWords(at(21, 1), NOW), /^tomorrow at 0?1:00/);
  assert.match(timeWords(at(23, 1), NOW), /^on Monday at 0?1:00/);
});

test("it is said which allowance is used up", () => {
  assert.match(usedUp("daily", at(21, 1), NOW), /^Today’s allowance is used up\. It resets tomorrow at /);
  assert.match(usedUp("weekly", at(23, 1), NOW), /^This week’s allowance is used up\. It resets on Monday at /);
  assert.equal(usedUp(undefined, undefined, NOW), "Your allowance is used up.");
});

test("a hint comes from 80 percent on, for the fuller window", () => {
  assert.equal(nearLimit(usage(79.9, 10), NOW), "");
  assert.equal(nearLimit(usage(null, null), NOW), "");
  assert.match(nearLimit(usage(80, 10), NOW), /^80\u00a0% of today’s allowance is used/);
  assert.match(nearLimit(usage(85, 99.9), NOW), /^99\u00a0% of this week’s allowance is used/, "100 is for the limit itself");
});

test("thinking is worth a word from a second on", () => {
  assert.deepEqual([null, 400, 4200, 61000].map(thoughtWords), ["", "", "4 s", "1 min 1 s"]);
});
