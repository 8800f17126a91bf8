import { expect, test } from "vitest";
import { mode, seconds, size } from "./format";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1 kB"],
  [999_499, "999 kB"],
  [999_500, "1 MB"],
  [12_345_678, "12.3 MB"],
  [5e12, "5000 GB"],
  [-2500, "-2.5 kB"],
])("%d bytes are shown as %s", (count, shown) => expect(size(count)).toBe(shown));

test.each([
  [0.04, "0.0 s"],
  [9.94, "9.9 s"],
  [9.95, "10 s"],
  [59.6, "1 min 00 s"],
  [125, "2 min 05 s"],
])("%d seconds are shown as %s", (value, shown) => expect(seconds(value)).toBe(shown));

test.each([
  [0o755, "rwxr-xr-x"],
  [0o640, "rw-r-----"],
  [0o100644, "rw-r--r--"],
])("mode %d is shown as %s", (bits, shown) => expect(mode(bits)).toBe(shown));
