// A build while it runs and after it; see stagelens/views/build_view.py.
import { useEffect, useState } from "preact/hooks";
import { Graph } from "./build/graph";
import { Log } from "./build/log";
import { type Outline, type Step, type Totals, useLog } from "./build/model";
import { Waterfall } from "./build/waterfall";
import { type ErrorInfo, RequestFailed } from "./lib/channel";
import { useClock } from "./lib/clock";
import { Problem } from "./lib/components";
import { seconds, size } from "./lib/format";
import { useChannel, useTrait, useTranslation, widget } from "./lib/widget";
import "./build_view.css";

/** The milliseconds after which a cancel button without effect explains itself. */
const CANCEL_HINT_DELAY = 3000;

function BuildView() {
  const [phase] = useTrait<string>("phase");
  const [outline] = useTrait<Outline>("outline");
  const [steps] = useTrait<Step[]>("steps");
  const [totals] = useTrait<Totals>("totals");
  const [problem] = useTrait<ErrorInfo | Record<string, never>>("problem");
  const [selected, select] = useTrait<string>("selected");
  const [fallback] = useTrait<string>("fallback");
  const active = phase === "running" || phase === "cancelling";
  const clock = useClock(totals.seconds ?? 0, active);
  const step = steps.find((each) => each.id === selected) ?? defaultStep(steps);
  const lines = useLog(step);
  const title =
    step && (outline.stages?.[step.stage ?? -1]?.steps[step.instruction ?? -1]?.text ?? step.name);
  return (
    <div class="sl-card sl-build">
      {/* The static fallback, a separate output for pages without a kernel, would repeat the widget. */}
      <style>{`.${fallback} { display: none }`}</style>
      <Head phase={phase} totals={totals} clock={clock} />
      {problem.what && <Problem error={new RequestFailed(problem as ErrorInfo)} />}
      <Graph outline={outline} steps={steps} />
      {steps.length > 0 && (
        <Waterfall
          outline={outline}
          steps={steps}
          clock={clock}
          finished={!active}
          selected={step?.id}
          onSelect={select}
        />
      )}
      {step && (step.lines > 0 || step.id === selected) && <Log title={title ?? ""} lines={lines} />}
    </div>
  );
}

/** The step whose output is shown by default: the failed one, else a running one, else the last with output. */
function defaultStep(steps: Step[]): Step | undefined {
  const withOutput = steps.filter((step) => step.lines > 0);
  return (
    steps.find((step) => step.state === "failed") ??
    [...withOutput].reverse().find((step) => step.state === "running") ??
    withOutput[withOutput.length - 1]
  );
}

function Head({ phase, totals, clock }: { phase: string; totals: Totals; clock: number }) {
  const { t, tn } = useTranslation();
  const phases: Record<string, string> = {
    waiting: t("No build yet"),
    running: t("Building"),
    cancelling: t("Stopping"),
    cancelled: t("Cancelled"),
    failed: t("Failed"),
    done: t("Built"),
  };
  const { cached = 0, done = 0, failed = 0, running = 0, waiting = 0, work = 0, sent = 0 } = totals;
  const count = Math.max(1, totals.steps ?? 0);
  const facts = [
    tn("{n} step", "{n} steps", totals.steps ?? 0),
    cached ? t("{n} from the cache", { n: cached }) : "",
    done ? t("{n} ran", { n: done }) : "",
    running ? t("{n} running", { n: running }) : "",
    waiting ? t("{n} waiting", { n: waiting }) : "",
    failed ? t("{n} failed", { n: failed }) : "",
    work >= 0.1 ? t("{time} of work", { time: seconds(work) }) : "",
    sent ? t("{size} of context sent", { size: size(sent) }) : "",
  ];
  return (
    <div class={`sl-head sl-phase-${phase}`}>
      <p class="sl-title" role="status" tabIndex={-1}>
        <span class="sl-lamp" aria-hidden="true" />
        {phases[phase]}
      </p>
      <span class="sl-clock">{phase === "waiting" ? "" : seconds(clock)}</span>
      <span class="sl-soft sl-grow">{facts.filter(Boolean).join(" · ")}</span>
      {(phase === "running" || phase === "cancelling") && <Cancel phase={phase} />}
      <span class="sl-progress" aria-hidden="true">
        <span class="sl-progress-cached" style={{ width: `${(100 * cached) / count}%` }} />
        <span class="sl-progress-done" style={{ width: `${(100 * done) / count}%` }} />
        <span class="sl-progress-failed" style={{ width: `${(100 * failed) / count}%` }} />
      </span>
    </div>
  );
}

function Cancel({ phase }: { phase: string }) {
  const { t } = useTranslation();
  const channel = useChannel();
  const [requested, setRequested] = useState(false);
  const [unheard, setUnheard] = useState(false);
  useEffect(() => {
    if (!requested || phase !== "running") return;
    const timer = setTimeout(() => setUnheard(true), CANCEL_HINT_DELAY);
    return () => clearTimeout(timer);
  }, [requested, phase]);
  const cancel = (button: HTMLElement) => {
    // The button is disabled now and disappears later: keep the keyboard focus in this widget.
    button.closest(".sl-head")?.querySelector<HTMLElement>(".sl-title")?.focus();
    setRequested(true);
    channel.request("cancel").catch(() => setUnheard(true));
  };
  return (
    <>
      <button
        type="button"
        class="sl-button sl-cancel"
        disabled={requested}
        onClick={(event) => cancel(event.currentTarget)}
      >
        {requested ? t("Stopping…") : t("Cancel")}
      </button>
      {unheard && phase === "running" && (
        <span class="sl-changed" role="alert">
          {t(
            "The kernel cannot react to this button while its cell runs: use the notebook's stop button (■).",
          )}
        </span>
      )}
    </>
  );
}

export default widget(BuildView, "build");
