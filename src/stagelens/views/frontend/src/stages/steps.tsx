// The stages, and the instructions of the chosen one with a slider through them.
import { size } from "../lib/format";
import { Instruction } from "../lib/ui";
import { useWords } from "../lib/widget";
import type { Build, Point, Stage, Step } from "./model";

function Delta({ step }: { step: Step }) {
  const { t } = useWords();
  if (!step.added && !step.changed && !step.removed)
    return <span class="sl-soft sl-delta">{t("no file changes")}</span>;
  const parts: [string, string, number, string][] = [
    ["sl-added", "+", step.added, t("{n} added", { n: step.added })],
    ["sl-changed", "~", step.changed, t("{n} changed", { n: step.changed })],
    ["sl-removed", "−", step.removed, t("{n} removed", { n: step.removed })],
  ];
  return (
    <span class="sl-delta">
      {parts.map(
        ([tone, sign, count, told]) =>
          count > 0 && (
            <span key={tone} class={tone} title={told}>
              <span aria-hidden="true">
                {sign}
                {count.toLocaleString()}
              </span>
              <span class="sl-hidden">{told} </span>
            </span>
          ),
      )}
      <span class="sl-soft">{size(step.bytes)}</span>
    </span>
  );
}

export function Stages(given: { builds: Build[]; point: Point; choose(point: Point): void }) {
  const { t, tn } = useWords();
  const last = (stage: Stage) => {
    const changing = stage.instructions.map((step, index) =>
      step.added + step.changed + step.removed ? index : 0,
    );
    return Math.max(...changing);
  };
  return (
    <div class="sl-stages" role="group" aria-label={t("Stage")}>
      {given.builds.flatMap((build, b) =>
        build.stages.map((stage, s) => (
          <button
            key={`${b}-${s}`}
            type="button"
            class="sl-stage"
            style={{ "--sl-stage": `var(--sl-stage-${s % 6})` }}
            aria-pressed={given.point[0] === b && given.point[1] === s}
            onClick={() => given.choose([b, s, last(stage)])}
          >
            <b>{given.builds.length > 1 ? `${build.name}: ${stage.label}` : stage.label}</b>
            {stage.final && <span class="sl-badge">{t("final image")}</span>}
            <span class="sl-soft">
              {tn("{n} file", "{n} files", stage.files)} · {size(stage.bytes)}
            </span>
          </button>
        )),
      )}
    </div>
  );
}

export function Steps(given: { stage: Stage; point: Point; choose(point: Point): void }) {
  const { t } = useWords();
  const steps = given.stage.instructions;
  const [build, stage, at] = given.point;
  const go = (index: number) => given.choose([build, stage, index]);
  return (
    <div class="sl-steps" style={{ "--sl-stage": `var(--sl-stage-${stage % 6})` }}>
      <label class="sl-slider">
        <span class="sl-soft">{t("Instruction {n} of {total}", { n: at + 1, total: steps.length })}</span>
        <input
          type="range"
          min={0}
          max={steps.length - 1}
          value={at}
          disabled={steps.length < 2}
          aria-label={t("Instruction")}
          aria-valuetext={t("line {line}: {text}", { line: steps[at].line, text: steps[at].text })}
          onInput={(event) => go(Number(event.currentTarget.value))}
        />
      </label>
      <ol aria-label={t("Instructions")}>
        {steps.map((step, index) => (
          <li key={index} class={index === at ? "sl-here" : index < at ? "sl-past" : ""}>
            <button type="button" aria-current={index === at ? "step" : undefined} onClick={() => go(index)}>
              <span class="sl-dot" aria-hidden="true" />
              <Instruction text={step.text} />
              <Delta step={step} />
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}
