// The output of a step, with its colors: it is followed while it grows, and can be searched. Only the visible lines
// are in the page.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useTrait, useTranslation } from "../lib/widget";
import type { Line } from "./model";

const LINE_HEIGHT = 18;
const HEIGHT = 252;

export function Log({ title, lines }: { title: string; lines: Line[] }) {
  const { t, tn } = useTranslation();
  const scroller = useRef<HTMLDivElement>(null);
  const [follow, setFollow] = useState(true);
  const [top, setTop] = useState(0);
  const [needle, setNeedle] = useTrait<string>("search");
  const [current, setCurrent] = useState(-1);
  const lowered = needle.toLowerCase();
  const matches = lowered
    ? lines.flatMap((line, n) => (line[1].toLowerCase().includes(lowered) ? [n] : []))
    : [];
  const first = Math.max(0, Math.floor(top / LINE_HEIGHT) - 10);
  const last = Math.min(lines.length, first + Math.ceil(HEIGHT / LINE_HEIGHT) + 20);
  const columns = lines.reduce((most, line) => Math.max(most, line[1].length), 0);

  useLayoutEffect(() => {
    if (follow && scroller.current) scroller.current.scrollTop = lines.length * LINE_HEIGHT;
  }, [lines.length, follow, title]);
  useEffect(() => setCurrent(-1), [needle, title]);

  const goToMatch = (step: number) => {
    if (!matches.length) return;
    const target = (current + step + matches.length) % matches.length;
    setCurrent(target);
    setFollow(false);
    if (scroller.current) scroller.current.scrollTop = matches[target] * LINE_HEIGHT - HEIGHT / 2;
  };
  const count = !needle
    ? ""
    : current < 0
      ? tn("{n} match", "{n} matches", matches.length)
      : `${current + 1}/${matches.length}`;
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
          onKeyDown={(event) => event.key === "Enter" && goToMatch(event.shiftKey ? -1 : 1)}
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
          ref={scroller}
          class="sl-lines sl-code"
          role="log"
          aria-live="off"
          tabIndex={0}
          aria-label={t("Output of the step")}
          style={{ height: `${Math.min(HEIGHT, lines.length * LINE_HEIGHT + 12)}px` }}
          onScroll={(event) => setTop(event.currentTarget.scrollTop)}
          onWheel={(event) => event.deltaY < 0 && setFollow(false)}
        >
          <div style={{ height: `${lines.length * LINE_HEIGHT}px`, width: `calc(${columns}ch + 70px)` }}>
            {lines.slice(first, last).map((line, index) => (
              <div
                key={first + index}
                class={matches[current] === first + index ? "sl-found" : ""}
                style={{ top: `${(first + index) * LINE_HEIGHT}px` }}
              >
                <span class="sl-line-number">{first + index + 1}</span>
                <Colored line={line} needle={lowered} />
              </div>
            ))}
          </div>
        </div>
      )}
    </section>
  );
}

/** A line in its colors, with the matches of the search marked. */
function Colored({ line: [stream, text, spans], needle }: { line: Line; needle: string }) {
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
  // A letter whose lower case is longer shifts the positions after it: then nothing is marked.
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
