// Numbers for people, as markup.py writes them.

/** Bytes in powers of 1000, three digits. */
export function size(count: number): string {
  if (Math.abs(count) < 1000) return `${count} B`;
  let number = count;
  for (const unit of ["kB", "MB", "GB"]) {
    number /= 1000;
    if (Math.abs(number) < 999.5 || unit === "GB") return `${Number(number.toPrecision(3))} ${unit}`;
  }
  return "";
}

/** Seconds: 0.4 s, 12 s, 2 min 05 s. */
export function seconds(value: number): string {
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

/** Permission bits as `ls -l` has them. */
export function mode(bits: number): string {
  const shown = [6, 3, 0].map((shift) => {
    const three = (bits >> shift) & 7;
    return (three & 4 ? "r" : "-") + (three & 2 ? "w" : "-") + (three & 1 ? "x" : "-");
  });
  return shown.join("");
}
