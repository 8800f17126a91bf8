// The cells of a file's row: its mark, name, permissions and size.
import { SIGNS } from "../components";
import { mode, size } from "../format";
import { useTranslation } from "../widget";
import type { FileRow } from "./model";

export function FileCells({ row, largest }: { row: FileRow; largest: number }) {
  const { t, tn } = useTranslation();
  const hasSize = row.kind === "file" || row.kind === "dir";
  const marks: Record<string, string> = { added: t("added"), changed: t("changed"), removed: t("removed") };
  // Shown in place of a size.
  const kinds: Record<string, string> = {
    symlink: t("symlink"),
    fifo: t("pipe"),
    char: t("device"),
    block: t("device"),
    socket: t("socket"),
  };
  return (
    <>
      <span class={`sl-sign sl-${row.mark}`}>
        <span aria-hidden="true">{SIGNS[row.mark]}</span>
        {row.mark && <span class="sl-hidden">{marks[row.mark]} </span>}
      </span>
      <span class="sl-name sl-code" title={row.name}>
        {row.name}
        {row.kind === "dir" && <span class="sl-soft">/</span>}
        {row.target !== null && <span class="sl-soft"> → {row.target}</span>}
      </span>
      {row.kind === "dir" && row.changes > 0 && !row.mark && (
        <span class="sl-changes sl-changed">{tn("{n} change", "{n} changes", row.changes)}</span>
      )}
      <span class="sl-mode sl-code sl-soft">{row.mode === null ? "" : mode(row.mode)}</span>
      <span class={hasSize ? "sl-gauge" : "sl-gauge sl-none"} aria-hidden="true">
        <span style={{ width: `${Math.min(100, (100 * row.size) / largest)}%` }} />
      </span>
      <span class={hasSize ? "sl-size" : "sl-size sl-soft"}>
        {hasSize ? size(row.size) : (kinds[row.kind] ?? row.kind)}
      </span>
    </>
  );
}
