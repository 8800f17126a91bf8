// A build while it runs and after it: see stagelens/views/build.py.
import { useEffect, useState } from "preact/hooks";
import { Graph } from "./build/graph";
import { Log } from "./build/log";
import { type Outline, type Step, type Totals, useClock, useLog } from "./build/model";
import { Waterfall } from "./build/waterfall";
import { Refused } from "./lib/channel";
import { seconds, size } from "./lib/format";
import { Problem } from "./lib/ui";
import { useChannel, useTrait, useWords, widget } from "./lib/widget";
import "./build_view.css";

const PATIENCE = 3000;

function BuildView() {
  const [phase] = useTrait<string>("phase");
  const [outline] = useTrait<Outline>("outline");
  const [steps] = useTrait<Step[]>("steps");
  const [totals] = useTrait<Totals>("totals");
  const [problem] = useTrait<Record<string, string>>("problem");
  const [chosen, setChosen] = useTrait<string>("chosen");
  const [twin] = useTrait<string>("twin");
  const runs = phase === "running" || phase === "cancelling";
  const clock = useClock(totals.seconds ?? 0, runs);
  const step = steps.find((each) => each.id === chosen) ?? telling(steps);
  const lines = useLog(step);
  const title =
    step && (outline.stages?.[step.stage ?? -1]?.steps[step.instruction ?? -1]?.text ?? step.name);
  return (
    <div class="sl-card sl-build">
      {/* Here the widget lives: its twin, below for pages without a kernel, has nothing to add. */}
      <style>{`.${twin} { display: none }`}</style>
      <Head phase={phase} totals={totals} clock={clock} />
      {problem.what && <Problem error={new Refused(problem as { what: string })} />}
      <Graph outline={outline} steps={steps} />
      {steps.length > 0 && (
        <Waterfall
          outline={outline}
          steps={steps}
          clock={clock}
          over={!runs}
          chosen={step?.id}
          choose={setChosen}
        />
      )}
      {step && (step.lines > 0 || step.id === chosen) && <Log title={title ?? ""} lines={lines} />}
    </div>
  );
}

/** The step that a reader wants to see unasked: one that failed, else one that runs, else the last that spoke. */
function telling(steps: Step[]): Step | undefined {
  const spoke = steps.filter((step) => step.lines > 0);
  return (
    steps.find((step) => step.state === "failed") ??
    [...spoke].reverse().find((step) => step.state === "running") ??
    spoke[spoke.length - 1]
  );
}

function Head({ phase, totals, clock }: { phase: string; totals: Totals; clock: number }) {
  const { t, tn } = useWords();
  const words: Record<string, string> = {
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
        {words[phase]}
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
  const { t } = useWords();
  const channel = useChannel();
  const [asked, setAsked] = useState(false);
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!asked || phase !== "running") return;
    const timer = setTimeout(() => setLate(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [asked, phase]);
  const cancel = (button: HTMLElement) => {
    // The button is off from now on, and goes: the keyboard stays in this view.
    button.closest(".sl-head")?.querySelector<HTMLElement>(".sl-title")?.focus();
    setAsked(true);
    channel.request("cancel").catch(() => setLate(true));
  };
  return (
    <>
      <button
        type="button"
        class="sl-button sl-cancel"
        disabled={asked}
        onClick={(event) => cancel(event.currentTarget)}
      >
        {asked ? t("Stopping…") : t("Cancel")}
      </button>
      {late && phase === "running" && (
        <span class="sl-changed" role="alert">
          {t("The kernel does not hear this button while its cell runs: use the notebook's stop button (■).")}
        </span>
      )}
    </>
  );
}

export default widget(BuildView, "build");
