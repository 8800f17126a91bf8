// The details of a file: its content, and its route through the stages.
import { useEffect, useState } from "preact/hooks";
import { Instruction, Problem, stageColor } from "../lib/components";
import { size } from "../lib/format";
import { useChannel, useTranslation } from "../lib/widget";
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

interface Route {
  from: Stop[];
  to: Stop[];
}

/** The answer to a request, which is sent again when its arguments change; undefined until the answer arrives. */
function useAnswer<T>(name: string, args: Record<string, unknown>): [T | undefined, Error | undefined] {
  const channel = useChannel();
  const [answer, setAnswer] = useState<T>();
  const [error, setError] = useState<Error>();
  useEffect(() => {
    let stale = false;
    setAnswer(undefined);
    setError(undefined);
    channel.request<T>(name, args).then(
      (value) => stale || setAnswer(value),
      (problem) => stale || setError(problem),
    );
    return () => {
      stale = true;
    };
  }, [JSON.stringify(args)]);
  return [answer, error];
}

export function Details(props: {
  point: Point;
  against: Point;
  path: string;
  onGo(point: Point, path: string): void;
  onClose(): void;
}) {
  const { t } = useTranslation();
  const against = props.against.length ? props.against : null;
  const [content, problem] = useAnswer<Content>("content", { point: props.point, against, path: props.path });
  const [route] = useAnswer<Route>("route", { point: props.point, path: props.path });
  return (
    <section
      class="sl-details"
      aria-label={t("File")}
      onKeyDown={(event) => event.key === "Escape" && props.onClose()}
    >
      <div class="sl-details-head">
        <b class="sl-code sl-path">/{props.path}</b>
        {content && <span class="sl-soft">{size(content.size)}</span>}
        <button type="button" class="sl-close" aria-label={t("Close the file")} onClick={props.onClose}>
          ×
        </button>
      </div>
      {route && route.from.length + route.to.length > 0 && <RouteList route={route} {...props} />}
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

function RouteList(props: {
  route: Route;
  point: Point;
  path: string;
  onGo(point: Point, path: string): void;
}) {
  const { route, point, path, onGo } = props;
  const { t } = useTranslation();
  const stops = [
    ...route.from,
    ...route.to.filter((stop) => !route.from.some((other) => isSame(other, stop))),
  ];
  return (
    <ol class="sl-route" aria-label={t("Route of this file through the stages")}>
      {stops.map((stop, index) => (
        <li key={index} style={{ "--sl-stage": stageColor(stop.point[1]) }}>
          <button
            type="button"
            aria-current={String(stop.point) === String(point) && stop.path === path ? "location" : undefined}
            onClick={() => onGo(stop.point, stop.path)}
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

function isSame(a: Stop, b: Stop): boolean {
  return String(a.point) === String(b.point) && a.path === b.path;
}
