// What a step printed: followed while it grows, searched, its colours kept. Only the lines in view are in the page.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useTrait, useWords } from "../lib/widget";
import type { Line } from "./model";

const ROW = 18;
const HEIGHT = 252;

export function Log({ title, lines }: { title: string; lines: Line[] }) {
  const { t, tn } = useWords();
  const box = useRef<HTMLDivElement>(null);
  const [follow, setFollow] = useState(true);
  const [top, setTop] = useState(0);
  const [needle, setNeedle] = useTrait<string>("search");
  const [at, setAt] = useState(-1);
  const wanted = needle.toLowerCase();
  const found = wanted ? lines.flatMap((line, n) => (line[1].toLowerCase().includes(wanted) ? [n] : [])) : [];
  const first = Math.max(0, Math.floor(top / ROW) - 10);
  const last = Math.min(lines.length, first + Math.ceil(HEIGHT / ROW) + 20);
  const widest = lines.reduce((most, line) => Math.max(most, line[1].length), 0);

  useLayoutEffect(() => {
    if (follow && box.current) box.current.scrollTop = lines.length * ROW;
  }, [lines.length, follow, title]);
  useEffect(() => setAt(-1), [needle, title]);

  const next = (step: number) => {
    if (!found.length) return;
    const here = (at + step + found.length) % found.length;
    setAt(here);
    setFollow(false);
    if (box.current) box.current.scrollTop = found[here] * ROW - HEIGHT / 2;
  };
  const count = !needle
    ? ""
    : at < 0
      ? tn("{n} match", "{n} matches", found.length)
      : `${at + 1}/${found.length}`;
  return (
    <section class="sl-log" aria-label={t("Output of the step")}>
      <div class="sl-log-head">
        <b class="sl-code sl-path">{title}</b>
        <input
          class="sl-input"
          type="search"
          placeholder={t("Search")}
          aria-label={t("Search in the output")}
          value={needle}
          onInput={(event) => setNeedle(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && next(event.shiftKey ? -1 : 1)}
        />
        <span class="sl-soft" role="status">
          {count}
        </span>
        <label class="sl-follow">
          <input
            type="checkbox"
            checked={follow}
            onChange={(event) => setFollow(event.currentTarget.checked)}
          />
          {t("Follow")}
        </label>
      </div>
      {lines.length === 0 ? (
        <p class="sl-soft sl-pad">{t("This step printed nothing.")}</p>
      ) : (
        <div
          ref={box}
          class="sl-lines sl-code"
          role="log"
          aria-live="off"
          tabIndex={0}
          aria-label={t("Output of the step")}
          style={{ height: `${Math.min(HEIGHT, lines.length * ROW + 12)}px` }}
          onScroll={(event) => setTop(event.currentTarget.scrollTop)}
          onWheel={(event) => event.deltaY < 0 && setFollow(false)}
        >
          <div style={{ height: `${lines.length * ROW}px`, width: `calc(${widest}ch + 70px)` }}>
            {lines.slice(first, last).map((line, index) => (
              <div
                key={first + index}
                class={found[at] === first + index ? "sl-found" : ""}
                style={{ top: `${(first + index) * ROW}px` }}
              >
                <span class="sl-line-number">{first + index + 1}</span>
                <Coloured line={line} needle={wanted} />
              </div>
            ))}
          </div>
        </div>
      )}
    </section>
  );
}

/** A line's parts in their colours, with what was searched for marked. */
function Coloured({ line: [stream, text, spans], needle }: { line: Line; needle: string }) {
  const parts: ComponentChildren[] = [];
  let done = 0;
  for (const [start, end, style] of spans) {
    parts.push(<Marked text={text.slice(done, start)} needle={needle} />);
    const classes = style.split(" ").map((word) => `sl-ansi-${word}`);
    parts.push(
      <span class={classes.join(" ")}>
        <Marked text={text.slice(start, end)} needle={needle} />
      </span>,
    );
    done = end;
  }
  parts.push(<Marked text={text.slice(done)} needle={needle} />);
  return <span class={stream === 2 ? "sl-stderr" : ""}>{parts}</span>;
}

function Marked({ text, needle }: { text: string; needle: string }) {
  const lower = text.toLowerCase();
  // A letter whose lower case is longer would shift what follows it: then nothing is marked.
  if (!needle || !lower.includes(needle) || lower.length !== text.length) return <>{text}</>;
  const parts: ComponentChildren[] = [];
  let done = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, done)) {
    parts.push(text.slice(done, at), <mark>{text.slice(at, at + needle.length)}</mark>);
    done = at + needle.length;
  }
  return (
    <>
      {parts}
      {text.slice(done)}
    </>
  );
}
