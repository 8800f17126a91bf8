// The steps of each stage with their states, and a bar for the time in which each of them ran.
import { Instruction, stageColor } from "../lib/components";
import { seconds } from "../lib/format";
import { useTranslation } from "../lib/widget";
import type { Outline, Stage, State, Step } from "./model";

interface Props {
  outline: Outline;
  steps: Step[];
  clock: number;
  /** The build has ended: no step waits any more. */
  finished: boolean;
  selected?: string;
  onSelect(id: string): void;
}

function useStateLabels(): Record<State, string> {
  const { t } = useTranslation();
  return {
    waiting: t("waiting"),
    running: t("running"),
    cached: t("cached"),
    done: t("done"),
    failed: t("failed"),
    stopped: t("stopped"),
  };
}

const ICONS: Record<State, string> = {
  waiting: "○",
  running: "◐",
  cached: "≡",
  done: "✓",
  failed: "✕",
  stopped: "–",
};

export function Waterfall(props: Props) {
  const { t } = useTranslation();
  const { stages = [] } = props.outline;
  const internal = props.steps.filter((step) => step.instruction === null && step.stage === null);
  const total = Math.max(props.clock, 0.1);
  const lanes = stages.length ? stages : guessStages(props.steps);
  return (
    <div class="sl-waterfall">
      <Scale total={total} legend={props.steps.some((step) => step.critical)} />
      {lanes.map((stage, index) =>
        stage.needed ? <Lane key={index} {...props} stage={stage} index={index} total={total} /> : null,
      )}
      {stages.some((stage) => !stage.needed) && (
        <p class="sl-soft sl-unused">
          {t("Not needed for this target: {stages}", {
            stages: stages
              .filter((stage) => !stage.needed)
              .map((stage) => stage.label)
              .join(", "),
          })}
        </p>
      )}
      {internal.length > 0 && (
        <details class="sl-internal">
          <summary>{t("BuildKit's internal steps")}</summary>
          <ol>
            {internal.map((step) => (
              <Row key={step.id} {...props} step={step} text={step.name} total={total} />
            ))}
          </ol>
        </details>
      )}
    </div>
  );
}

/** The stages as far as the steps show them, while the Dockerfile is not known. */
function guessStages(steps: Step[]): Stage[] {
  const count = Math.max(-1, ...steps.map((step) => step.stage ?? -1)) + 1;
  return Array.from({ length: count }, (_, index) => {
    const stageSteps = steps.filter((step) => step.stage === index);
    const last = Math.max(-1, ...stageSteps.map((step) => step.instruction ?? -1));
    const planned = Array.from({ length: last + 1 }, (_, n) => ({
      line: 0,
      text: stageSteps.find((step) => step.instruction === n)?.name.replace(/^\[[^\]]*\] /, "") ?? "",
      runs: stageSteps.some((step) => step.instruction === n),
    }));
    return { label: `stage-${index}`, base: "", needed: stageSteps.length > 0, steps: planned };
  });
}

function Scale({ total, legend }: { total: number; legend: boolean }) {
  const { t } = useTranslation();
  // A build from the cache takes less than the 0.1 s that seconds are rounded to.
  const format = (value: number) => (total < 0.8 ? `${Math.round(1000 * value)} ms` : seconds(value));
  const ticks = [0, 0.25, 0.5, 0.75].map((part) => (
    <span key={part} style={{ left: `${part * 100}%` }}>
      {format(part * total)}
    </span>
  ));
  return (
    <div class="sl-step sl-scale" aria-hidden="true">
      <span class="sl-legend">
        {legend && (
          <>
            <span class="sl-span sl-critical" /> {t("critical path: what the build waited for")}
          </>
        )}
      </span>
      <span class="sl-track">{ticks}</span>
    </div>
  );
}

function Lane(props: Props & { stage: Stage; index: number; total: number }) {
  const { t } = useTranslation();
  const { stage, index } = props;
  const stageSteps = props.steps.filter((step) => step.stage === index);
  const ended = stageSteps.filter((step) => step.state === "done" || step.state === "cached").length;
  return (
    <section class="sl-lane" style={{ "--sl-stage": stageColor(index) }} aria-label={stage.label}>
      <h4>
        <span class="sl-lane-label">{stage.label}</span>
        <span class="sl-soft">{stage.base && t("from {base}", { base: stage.base })}</span>
        <span class="sl-soft sl-grow sl-right">
          {stageSteps.length > 0 && `${ended}/${stageSteps.length}`}
        </span>
      </h4>
      <ol>
        {stage.steps.map((planned, number) => {
          const step = stageSteps.find((each) => each.instruction === number);
          if (!step && !planned.text) return null;
          // If several stages use a base image, it is a step of the first of them only.
          const runs = planned.runs && number > 0;
          return <Row key={number} {...props} step={step} text={planned.text} runs={runs} />;
        })}
      </ol>
    </section>
  );
}

function Row(props: Props & { step?: Step; text: string; runs?: boolean; total: number }) {
  const labels = useStateLabels();
  const { t } = useTranslation();
  const { step } = props;
  if (!step)
    return (
      <li class="sl-step sl-unreported">
        <span aria-hidden="true" class="sl-icon">
          {/* BuildKit reports no step if all steps after it came from the cache. */}
          {props.runs && !props.finished ? ICONS.waiting : "·"}
        </span>
        <Instruction text={props.text} />
      </li>
    );
  const running = step.state === "running";
  const took = running ? Math.max(0, props.clock - (step.start ?? 0)) : (step.seconds ?? 0);
  const ran = step.start !== null && step.state !== "cached";
  const label = ran ? `${labels[step.state]}, ${seconds(took)}` : labels[step.state];
  return (
    <li>
      <button
        type="button"
        class={`sl-step sl-${step.state}`}
        aria-pressed={step.id === props.selected}
        onClick={() => props.onSelect(step.id)}
      >
        <span aria-hidden="true" class="sl-icon">
          {ICONS[step.state]}
        </span>
        <Instruction text={props.text} />
        <span class="sl-hidden">{step.critical ? `${label}, ${t("on the critical path")}` : label}</span>
        <span class="sl-time" aria-hidden="true">
          {ran ? seconds(took) : step.state === "cached" ? labels.cached : ""}
        </span>
        <span class="sl-track" aria-hidden="true">
          {ran && (
            <span
              class={`sl-span${step.critical ? " sl-critical" : ""}`}
              style={{
                left: `${Math.min(99, (100 * (step.start ?? 0)) / props.total)}%`,
                width: `max(4px, ${Math.min(100, (100 * took) / props.total)}%)`,
              }}
            />
          )}
        </span>
      </button>
    </li>
  );
}
