// The compared tree with its switches.
import { useState } from "preact/hooks";
import { FileCells } from "../lib/file";
import { useFolders, useSettled } from "../lib/folders";
import { size } from "../lib/format";
import { TreeRows } from "../lib/rows";
import { Choices, Problem } from "../lib/ui";
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
  const { t, tn } = useWords();
  const [show, setShow] = useState("all");
  const [typed, setTyped] = useState("");
  const [sort, setSort] = useState("name");
  const needle = useSettled(typed, 200);
  const final = given.builds[given.point[0]].stages[given.point[1]].final;
  // Nothing of the final image is left behind: the choice is offered for the other stages alone.
  const shown = show === "left" && final ? "all" : show;
  const query = { point: given.point, against: given.against.length ? given.against : null };
  const found = useFolders({ ...query, show: shown, needle, sort });
  const options: [string, string][] = [
    ["all", t("All files")],
    ["changes", t("Only changes")],
  ];
  if (!final) options.push(["left", t("Left behind")]);
  const largest = Math.max(1, ...found.rows.filter((row) => row.level === 1).map((row) => row.size));
  const summary = `${tn("{n} entry", "{n} entries", found.totals.rows)} · ${size(found.totals.bytes)}`;
  return (
    <div class="sl-files">
      <div class="sl-bar">
        <Choices label={t("Show")} value={shown} options={options} choose={setShow} />
        <input
          class="sl-input sl-filter"
          type="search"
          placeholder={t("Filter, such as *.jar")}
          aria-label={t("Filter by path")}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <Choices
          label={t("Sort")}
          value={sort}
          options={[
            ["name", t("Name")],
            ["size", t("Size")],
          ]}
          choose={setSort}
        />
        <Against {...given} />
      </div>
      <p class="sl-summary" role="status">
        {shown === "left"
          ? t("Not in the final image: {summary}", { summary })
          : found.busy
            ? t("Reading files…")
            : summary}
      </p>
      {found.error && <Problem error={found.error} />}
      <TreeRows
        label={t("Files")}
        rows={found.rows}
        busy={found.busy}
        height={408}
        chosen={given.path}
        classes={(row) => (row.mark ? `sl-is-${row.mark}` : "")}
        draw={(row) => <FileCells row={row} largest={largest} />}
        toggle={found.toggle}
        choose={(row) => row.kind !== "dir" && given.choose(row.path)}
        end={found.more}
      />
      {!found.rows.length && !found.busy && <p class="sl-empty sl-soft">{t("No files to show here.")}</p>}
    </div>
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
            <optgroup key={`${b}-${s}`} label={builds.length > 1 ? `${build.name}: ${stage.label}` : stage.label}>
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
