// The files of every stage after every instruction; see stagelens/views/stage_explorer.py.
import { useRef } from "preact/hooks";
import { useTrait, useTranslation, widget } from "./lib/widget";
import { Details } from "./stages/details";
import { Files } from "./stages/files";
import type { Build, Point } from "./stages/model";
import { Stages, Steps } from "./stages/steps";
import "./stage_explorer.css";

function StageExplorer() {
  const { t } = useTranslation();
  const [builds] = useTrait<Build[]>("builds");
  const [point, setPoint] = useTrait<Point>("point");
  const [against, setAgainst] = useTrait<Point>("against");
  const [path, setPath] = useTrait<string>("path");
  const card = useRef<HTMLDivElement>(null);
  const stage = builds[point[0]]?.stages[point[1]];
  if (!stage) return <p>{t("There are no stages to show.")}</p>;
  const goTo = (target: Point, file: string) => {
    setPoint(target);
    setPath(file);
  };
  const close = () => {
    card.current?.querySelector<HTMLElement>(".sl-tree")?.focus();
    setPath("");
  };
  return (
    <div ref={card} class="sl-card sl-explorer">
      <Stages builds={builds} point={point} onSelect={setPoint} />
      <div class="sl-columns">
        <Steps stage={stage} point={point} onSelect={setPoint} />
        <Files
          builds={builds}
          point={point}
          against={against}
          path={path}
          onCompare={setAgainst}
          onSelect={setPath}
        />
      </div>
      {path && <Details point={point} against={against} path={path} onGo={goTo} onClose={close} />}
    </div>
  );
}

export default widget(StageExplorer, "stages");
