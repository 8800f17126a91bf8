// The files of every stage after every instruction: see stagelens/views/explorer.py.
import { useRef } from "preact/hooks";
import { useTrait, useWords, widget } from "./lib/widget";
import { Details } from "./stages/details";
import { Files } from "./stages/files";
import type { Build, Point } from "./stages/model";
import { Stages, Steps } from "./stages/steps";
import "./stage_explorer.css";

function StageExplorer() {
  const { t } = useWords();
  const [builds] = useTrait<Build[]>("builds");
  const [point, setPoint] = useTrait<Point>("point");
  const [against, setAgainst] = useTrait<Point>("against");
  const [path, setPath] = useTrait<string>("path");
  const card = useRef<HTMLDivElement>(null);
  const stage = builds[point[0]]?.stages[point[1]];
  if (!stage) return <p>{t("There are no stages to show.")}</p>;
  const go = (to: Point, file: string) => {
    setPoint(to);
    setPath(file);
  };
  const close = () => {
    card.current?.querySelector<HTMLElement>(".sl-tree")?.focus();
    setPath("");
  };
  return (
    <div ref={card} class="sl-card sl-explorer">
      <Stages builds={builds} point={point} choose={setPoint} />
      <div class="sl-columns">
        <Steps stage={stage} point={point} choose={setPoint} />
        <Files
          builds={builds}
          point={point}
          against={against}
          path={path}
          compare={setAgainst}
          choose={setPath}
        />
      </div>
      {path && <Details point={point} against={against} path={path} go={go} close={close} />}
    </div>
  );
}

export default widget(StageExplorer, "stages");
