// The animation of a traced request: as it was measured, but slower, so that it can be followed.
import { useLayoutEffect, useRef } from "preact/hooks";

export interface Hop {
  service: string;
  method: string;
  url: string;
  status: number | null;
  start: number;
  seconds: number;
  inside: number | null;
  error: string;
}

/** When a call is sent, reaches its service, leaves it and returns: in milliseconds of the animation. */
interface Timing {
  begin: number;
  arrive: number;
  leave: number;
  end: number;
}

/** The milliseconds that the whole animation takes. */
const DURATION = 4000;
/** The milliseconds that a dot travels at least: less is not visible. */
const MIN_TRAVEL = 150;

export const failed = (hop: Hop) => hop.status === null || hop.status >= 400;

export function duration(hops: Hop[]): number {
  return Math.max(0.001, ...hops.map((hop) => hop.start + hop.seconds));
}

/** How many times slower the animation is than the request was. */
export function slowness(hops: Hop[]): number {
  return DURATION / 1000 / duration(hops);
}

/** The timing of a call. The time that its service did not work was spent on the network, half of it in each
 *  direction. A call that is too short to be followed travels for a third of its time in each. */
export function timing(hop: Hop, hops: Hop[]): Timing {
  const scale = 1000 * slowness(hops);
  const begin = hop.start * scale;
  const length = Math.max(3 * MIN_TRAVEL, hop.seconds * scale);
  const network = ((hop.seconds - (hop.inside ?? 0)) * scale) / 2;
  const travel = Math.min(length / 3, Math.max(MIN_TRAVEL, network));
  return { begin, arrive: begin + travel, leave: begin + length - travel, end: begin + length };
}

function prefersReducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Animate an element once for each request, unless the user prefers reduced motion. */
export function useAnimation<E extends Element>(request: string, animate: (element: E) => void) {
  const ref = useRef<E>(null);
  useLayoutEffect(() => {
    if (!request || !ref.current || prefersReducedMotion()) return;
    const element = ref.current;
    animate(element);
    return () => {
      for (const animation of element.getAnimations()) animation.cancel();
    };
  }, [request]);
  return ref;
}

/** A call on its arrow: a dot goes to the service, waits while it works and returns; then the result appears. */
export function Call({ hop, hops, request }: { hop: Hop; hops: Hop[]; request: string }) {
  const { begin, arrive, leave, end } = timing(hop, hops);
  const length = end - begin;
  const dot = useAnimation<HTMLElement>(request, (element) => {
    const back = hop.status === null ? "100%" : "0%";
    element.animate(
      [
        { left: "0%", opacity: 1 },
        { left: "100%", opacity: 1, offset: (arrive - begin) / length },
        { left: "100%", opacity: 1, offset: (leave - begin) / length },
        { left: back, opacity: hop.status === null ? 0 : 1 },
      ],
      { delay: begin, duration: length },
    );
  });
  const result = useAnimation<HTMLElement>(request, (element) => {
    element.animate([{ opacity: 0 }, { opacity: 0 }], { duration: end });
  });
  const tone = failed(hop) ? "sl-removed" : "sl-added";
  return (
    <>
      <i ref={dot} class={tone} />
      <b ref={result} class={tone}>
        {hop.status ?? "✕"} <span class="sl-soft">{milliseconds(hop.seconds)}</span>
      </b>
    </>
  );
}

export const milliseconds = (value: number) => `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)} ms`;
