// The layers of an image and their files; see stagelens/views/layer_explorer.py.
import { Facts, Instruction } from "./lib/components";
import { size } from "./lib/format";
import { FileTree } from "./lib/tree/file_tree";
import { useTrait, useTranslation, widget } from "./lib/widget";
import "./layer_explorer.css";

interface Layer {
  index: number;
  text: string;
  size: number;
  files: number;
  whiteouts: number;
  digest: string;
  shared: string[];
}

interface Summary {
  size: number;
  efficiency: number;
  wasted: number;
  paths: number;
}

/** path, how many layers store it, bytes */
type Wasted = [string, number, number];

function LayerExplorer() {
  const { t, tn } = useTranslation();
  const [name] = useTrait<string>("name");
  const [layers] = useTrait<Layer[]>("layers");
  const [summary] = useTrait<Summary>("summary");
  const [wasted] = useTrait<Wasted[]>("wasted");
  const [selected, select] = useTrait<number>("layer");
  if (!layers.length) return <p>{t("This image has no layers.")}</p>;
  const shared = layers.filter((layer) => layer.shared.length).reduce((sum, layer) => sum + layer.size, 0);
  const facts: [string, string, string][] = [
    [t("Size"), size(summary.size), ""],
    [t("Layers"), String(layers.length), ""],
    [
      t("Efficiency"),
      `${(100 * summary.efficiency).toFixed(1)} %`,
      summary.efficiency < 0.9 ? "sl-changed" : "sl-added",
    ],
    [t("Wasted"), size(summary.wasted), summary.wasted ? "sl-changed" : "sl-added"],
  ];
  if (shared) facts.push([t("Shared with other images"), size(shared), ""]);
  return (
    <div class="sl-card sl-layers">
      <div class="sl-head">
        <p class="sl-title">{name || t("Layers of the image")}</p>
        <Facts facts={facts} />
      </div>
      <div class="sl-columns">
        <Stack layers={layers} selected={selected} onSelect={select} />
        <Files layer={layers[Math.min(selected, layers.length - 1)]} />
      </div>
      {wasted.length > 0 && (
        <details class="sl-wasted">
          <summary>
            {tn(
              "{n} path is stored in more than one layer",
              "{n} paths are stored in more than one layer",
              summary.paths,
            )}
          </summary>
          <ul>
            {wasted.map(([path, times, bytes]) => (
              <li key={path}>
                <code class="sl-code sl-path">/{path}</code>
                <span class="sl-soft">{t("{n} times", { n: times })}</span>
                <span class="sl-size">{size(bytes)}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

/** The layers, the top one first. */
function Stack({
  layers,
  selected,
  onSelect,
}: {
  layers: Layer[];
  selected: number;
  onSelect(index: number): void;
}) {
  const { t, tn } = useTranslation();
  const largest = Math.max(1, ...layers.map((layer) => layer.size));
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step || !layers[selected + step]) return;
    event.preventDefault();
    onSelect(selected + step);
    const row = event.currentTarget as HTMLElement;
    (row.querySelectorAll("[role=radio]")[layers.length - 1 - selected - step] as HTMLElement).focus();
  };
  return (
    <div class="sl-stack" role="radiogroup" aria-label={t("Layers, top first")} onKeyDown={onKeyDown}>
      {[...layers].reverse().map((layer) => (
        <button
          key={layer.index}
          type="button"
          role="radio"
          aria-checked={layer.index === selected}
          tabIndex={layer.index === selected ? 0 : -1}
          class={layer.shared.length ? "sl-layer sl-shared" : "sl-layer"}
          onClick={() => onSelect(layer.index)}
        >
          <span class="sl-layer-head">
            <b>{layer.index}</b>
            <span>{size(layer.size)}</span>
            <span class="sl-soft">{tn("{n} file", "{n} files", layer.files)}</span>
            {layer.whiteouts > 0 && (
              <span class="sl-removed">{tn("removes {n} path", "removes {n} paths", layer.whiteouts)}</span>
            )}
          </span>
          {layer.text ? <Instruction text={layer.text} /> : <span class="sl-soft">{t("not recorded")}</span>}
          <span class="sl-gauge" aria-hidden="true">
            <span style={{ width: `${(100 * layer.size) / largest}%` }} />
          </span>
          {layer.shared.length > 0 && (
            <span class="sl-badge">{t("shared with {images}", { images: layer.shared.join(", ") })}</span>
          )}
        </button>
      ))}
    </div>
  );
}

function Files({ layer }: { layer: Layer }) {
  const { t } = useTranslation();
  const [mode, setMode] = useTrait<string>("mode");
  return (
    <FileTree
      query={{ layer: layer.index, mode }}
      shown={mode}
      options={[
        ["layer", t("This layer")],
        ["upto", t("Up to this layer")],
      ]}
      onShow={setMode}
      height={360}
      details={
        <code class="sl-code sl-soft sl-digest" title={layer.digest}>
          {layer.digest}
        </code>
      }
    />
  );
}

export default widget(LayerExplorer, "layers");
