// The compared tree with its switches.
import { useState } from "preact/hooks";
import { FileTree } from "../lib/tree/file_tree";
import { useWords } from "../lib/widget";
import type { Build, Point } from "./model";

interface Given {
  builds: Build[];
  point: Point;
  against: Point;
  path: string;
  compare(point: Point): void;
  choose(path: string): void;
}

export function Files(given: Given) {
  const { t } = useWords();
  const [show, setShow] = useState("all");
  const final = given.builds[given.point[0]].stages[given.point[1]].final;
  // Nothing of the final image is left behind: the choice is offered for the other stages alone.
  const shown = show === "left" && final ? "all" : show;
  const options: [string, string][] = [
    ["all", t("All files")],
    ["changes", t("Only changes")],
  ];
  if (!final) options.push(["left", t("Left behind")]);
  return (
    <FileTree
      query={{ point: given.point, against: given.against.length ? given.against : null, show: shown }}
      shown={shown}
      options={options}
      onShow={setShow}
      height={408}
      summary={(totals) =>
        shown === "left" ? t("Not in the final image: {summary}", { summary: totals }) : totals
      }
      path={given.path}
      onSelect={given.choose}
    >
      <Against {...given} />
    </FileTree>
  );
}

/** What the chosen point is compared with: the instruction before it, or any point of any build. */
function Against({ builds, point, against, compare }: Given) {
  const { t } = useWords();
  return (
    <label class="sl-against">
      <span class="sl-soft">{t("Compare with")}</span>
      <select
        class="sl-input"
        value={against.length ? JSON.stringify(against) : ""}
        onChange={(event) => compare(event.currentTarget.value ? JSON.parse(event.currentTarget.value) : [])}
      >
        <option value="">{t("the instruction before")}</option>
        {builds.map((build, b) =>
          build.stages.map((stage, s) => (
            <optgroup
              key={`${b}-${s}`}
              label={builds.length > 1 ? `${build.name}: ${stage.label}` : stage.label}
            >
              {stage.instructions.map((step, i) => {
                const value = JSON.stringify([b, s, i]);
                return (
                  <option key={value} value={value} disabled={value === JSON.stringify(point)}>
                    {`${step.line}: ${step.text.slice(0, 60)}`}
                  </option>
                );
              })}
            </optgroup>
          )),
        )}
      </select>
    </label>
  );
}
