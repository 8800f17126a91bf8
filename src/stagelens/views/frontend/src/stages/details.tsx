// One file: what is in it, where it came from and where it went.
import { useEffect, useState } from "preact/hooks";
import { size } from "../lib/format";
import { Instruction, Problem } from "../lib/ui";
import { useChannel, useWords } from "../lib/widget";
import type { Point } from "./model";

interface Content {
  size: number;
  binary: boolean;
  truncated: boolean;
  lines: [string, string][];
}

interface Stop {
  point: Point;
  stage: string;
  line: number;
  text: string;
  path: string;
  size: number;
  final: boolean;
}

interface Way {
  from: Stop[];
  to: Stop[];
}

/** The answer to a request that is made anew when `given` changes; undefined while it is under way. */
function useAnswer<T>(name: string, given: Record<string, unknown>): [T | undefined, Error | undefined] {
  const channel = useChannel();
  const [answer, setAnswer] = useState<T>();
  const [error, setError] = useState<Error>();
  useEffect(() => {
    let stale = false;
    setAnswer(undefined);
    setError(undefined);
    channel.request<T>(name, given).then(
      (value) => stale || setAnswer(value),
      (problem) => stale || setError(problem),
    );
    return () => {
      stale = true;
    };
  }, [JSON.stringify(given)]);
  return [answer, error];
}

export function Details(given: {
  point: Point;
  against: Point;
  path: string;
  go(point: Point, path: string): void;
  close(): void;
}) {
  const { t } = useWords();
  const against = given.against.length ? given.against : null;
  const [content, problem] = useAnswer<Content>("content", { point: given.point, against, path: given.path });
  const [way] = useAnswer<Way>("way", { point: given.point, path: given.path });
  return (
    <section
      class="sl-details"
      aria-label={t("File")}
      onKeyDown={(event) => event.key === "Escape" && given.close()}
    >
      <div class="sl-details-head">
        <b class="sl-code sl-path">/{given.path}</b>
        {content && <span class="sl-soft">{size(content.size)}</span>}
        <button type="button" class="sl-close" aria-label={t("Close the file")} onClick={given.close}>
          ×
        </button>
      </div>
      {way && way.from.length + way.to.length > 0 && <Route way={way} {...given} />}
      {problem && <Problem error={problem} />}
      {!content && !problem && <p class="sl-soft sl-pad">{t("Reading the file from the build cache…")}</p>}
      {content?.binary && <p class="sl-soft sl-pad">{t("This file is not text.")}</p>}
      {content && !content.binary && content.lines.length === 0 && (
        <p class="sl-soft sl-pad">{t("This file is empty.")}</p>
      )}
      {content && content.lines.length > 0 && (
        <pre class="sl-content sl-code" role="group" tabIndex={0} aria-label={t("Content")}>
          {content.lines.map(([sign, line], index) => (
            <div key={index} class={sign === "+" ? "sl-plus" : sign === "-" ? "sl-minus" : ""}>
              <span class="sl-gutter">{sign === " " ? "" : sign === "-" ? "−" : sign}</span>
              {line || " "}
            </div>
          ))}
        </pre>
      )}
      {content?.truncated && <p class="sl-soft sl-pad">{t("Only the first 64 KiB are shown.")}</p>}
    </section>
  );
}

function Route({
  way,
  point,
  path,
  go,
}: {
  way: Way;
  point: Point;
  path: string;
  go(point: Point, path: string): void;
}) {
  const { t } = useWords();
  const stops = [...way.from, ...way.to.filter((stop) => !way.from.some((other) => same(other, stop)))];
  return (
    <ol class="sl-route" aria-label={t("The way of this file")}>
      {stops.map((stop, index) => (
        <li key={index} style={{ "--sl-stage": `var(--sl-stage-${stop.point[1] % 6})` }}>
          <button
            type="button"
            aria-current={String(stop.point) === String(point) && stop.path === path ? "location" : undefined}
            onClick={() => go(stop.point, stop.path)}
          >
            <span class="sl-route-stage">
              <b>{stop.stage}</b> <span class="sl-soft">{t("line {line}", { line: stop.line })}</span>
              {stop.final && <span class="sl-badge">{t("final image")}</span>}
            </span>
            <Instruction text={stop.text} />
            <span class="sl-soft sl-code">
              /{stop.path} · {size(stop.size)}
            </span>
          </button>
        </li>
      ))}
    </ol>
  );
}

function same(a: Stop, b: Stop): boolean {
  return String(a.point) === String(b.point) && a.path === b.path;
}
