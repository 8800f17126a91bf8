// The steps of each stage with their states, and when each ran: bars side by side ran side by side.
import { seconds } from "../lib/format";
import { Instruction } from "../lib/ui";
import { useWords } from "../lib/widget";
import type { Outline, Stage, State, Step } from "./model";

interface Given {
  outline: Outline;
  steps: Step[];
  clock: number;
  /** Whether the build has ended: nothing waits any more. */
  over: boolean;
  chosen?: string;
  choose(id: string): void;
}

function useStates(): Record<State, string> {
  const { t } = useWords();
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

export function Waterfall(given: Given) {
  const { t } = useWords();
  const { stages = [] } = given.outline;
  const own = given.steps.filter((step) => step.instruction === null && step.stage === null);
  const whole = Math.max(given.clock, 0.1);
  const lanes = stages.length ? stages : known(given.steps);
  return (
    <div class="sl-waterfall">
      <Scale whole={whole} over={given.steps.some((step) => step.critical)} />
      {lanes.map((stage, index) =>
        stage.needed ? <Lane key={index} {...given} stage={stage} index={index} whole={whole} /> : null,
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
      {own.length > 0 && (
        <details class="sl-own">
          <summary>{t("BuildKit's own steps")}</summary>
          <ol>
            {own.map((step) => (
              <Row key={step.id} {...given} step={step} text={step.name} whole={whole} />
            ))}
          </ol>
        </details>
      )}
    </div>
  );
}

/** Stages as far as the steps tell, where the Dockerfile is not known yet. */
function known(steps: Step[]): Stage[] {
  const count = Math.max(-1, ...steps.map((step) => step.stage ?? -1)) + 1;
  return Array.from({ length: count }, (_, index) => {
    const mine = steps.filter((step) => step.stage === index);
    const last = Math.max(-1, ...mine.map((step) => step.instruction ?? -1));
    const planned = Array.from({ length: last + 1 }, (_, n) => ({
      line: 0,
      text: mine.find((step) => step.instruction === n)?.name.replace(/^\[[^\]]*\] /, "") ?? "",
      runs: mine.some((step) => step.instruction === n),
    })).map((step) => step);
    return { label: `stage-${index}`, base: "", needed: mine.length > 0, steps: planned };
  });
}

function Scale({ whole, over }: { whole: number; over: boolean }) {
  const { t } = useWords();
  // A build from the cache takes less than the tenths that seconds are told in.
  const told = (value: number) => (whole < 0.8 ? `${Math.round(1000 * value)} ms` : seconds(value));
  const ticks = [0, 0.25, 0.5, 0.75].map((part) => (
    <span key={part} style={{ left: `${part * 100}%` }}>
      {told(part * whole)}
    </span>
  ));
  return (
    <div class="sl-step sl-scale" aria-hidden="true">
      <span class="sl-legend">
        {over && (
          <>
            <span class="sl-span sl-critical" /> {t("critical path: what the build waited for")}
          </>
        )}
      </span>
      <span class="sl-track">{ticks}</span>
    </div>
  );
}

function Lane(given: Given & { stage: Stage; index: number; whole: number }) {
  const { t } = useWords();
  const { stage, index } = given;
  const mine = given.steps.filter((step) => step.stage === index);
  const ended = mine.filter((step) => step.state === "done" || step.state === "cached").length;
  return (
    <section
      class="sl-lane"
      style={{ "--sl-stage": `var(--sl-stage-${index % 6})` }}
      aria-label={stage.label}
    >
      <h4>
        <span class="sl-lane-label">{stage.label}</span>
        <span class="sl-soft">{stage.base && t("from {base}", { base: stage.base })}</span>
        <span class="sl-soft sl-grow sl-right">{mine.length > 0 && `${ended}/${mine.length}`}</span>
      </h4>
      <ol>
        {stage.steps.map((planned, number) => {
          const step = mine.find((each) => each.instruction === number);
          if (!step && !planned.text) return null;
          // The image that a stage begins with is a step of the first stage that has it.
          const runs = planned.runs && number > 0;
          return <Row key={number} {...given} step={step} text={planned.text} runs={runs} />;
        })}
      </ol>
    </section>
  );
}

function Row(given: Given & { step?: Step; text: string; runs?: boolean; whole: number }) {
  const states = useStates();
  const { t } = useWords();
  const { step } = given;
  if (!step)
    return (
      <li class="sl-step sl-quiet">
        <span aria-hidden="true" class="sl-icon">
          {/* BuildKit tells nothing of a step where all that builds on it came from the cache. */}
          {given.runs && !given.over ? ICONS.waiting : "·"}
        </span>
        <Instruction text={given.text} />
      </li>
    );
  const live = step.state === "running";
  const took = live ? Math.max(0, given.clock - (step.start ?? 0)) : (step.seconds ?? 0);
  const ran = step.start !== null && step.state !== "cached";
  const told = ran ? `${states[step.state]}, ${seconds(took)}` : states[step.state];
  return (
    <li>
      <button
        type="button"
        class={`sl-step sl-${step.state}`}
        aria-pressed={step.id === given.chosen}
        onClick={() => given.choose(step.id)}
      >
        <span aria-hidden="true" class="sl-icon">
          {ICONS[step.state]}
        </span>
        <Instruction text={given.text} />
        <span class="sl-hidden">{step.critical ? `${told}, ${t("on the critical path")}` : told}</span>
        <span class="sl-time" aria-hidden="true">
          {ran ? seconds(took) : step.state === "cached" ? states.cached : ""}
        </span>
        <span class="sl-track" aria-hidden="true">
          {ran && (
            <span
              class={`sl-span${step.critical ? " sl-critical" : ""}`}
              style={{
                left: `${Math.min(99, (100 * (step.start ?? 0)) / given.whole)}%`,
                width: `max(4px, ${Math.min(100, (100 * took) / given.whole)}%)`,
              }}
            />
          )}
        </span>
      </button>
    </li>
  );
}
