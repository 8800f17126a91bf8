// The application on its network, and a request on its way: see stagelens/views/app.py.
import { useEffect, useRef, useState } from "preact/hooks";
import { Call, duration, failed, type Hop, milliseconds, pace, slowness, usePlayed } from "./app/motion";
import { Code, Problem } from "./lib/ui";
import { useChannel, useTrait, useWords, widget } from "./lib/widget";
import "./app_view.css";

interface Service {
  name: string;
  image: string;
  container: string;
  state: string;
  health: "healthy" | "unhealthy" | "unknown";
  url: string | null;
  note: string;
}

function AppView() {
  const { t } = useWords();
  const channel = useChannel();
  const [network] = useTrait<string>("network");
  const [services] = useTrait<Service[]>("services");
  const [calls] = useTrait<[string, string][]>("calls");
  const [hops] = useTrait<Hop[]>("hops");
  const [request] = useTrait<string>("request_id");
  const [chosen, choose] = useTrait<string>("chosen");
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState<Error>();
  const card = useRef<HTMLDivElement>(null);
  const ask = (name: string) => {
    if (busy) return;
    setBusy(name);
    setProblem(undefined);
    channel
      .request(name)
      .catch(setProblem)
      .finally(() => setBusy(""));
  };
  const close = () => {
    card.current?.querySelector<HTMLElement>(".sl-service [aria-pressed=true]")?.focus();
    choose("");
  };
  const running = services.filter((service) => service.state === "running").length;
  return (
    <div ref={card} class="sl-card sl-app">
      <div class="sl-head">
        <p class="sl-title">{t("Network {name}", { name: network })}</p>
        <span class="sl-soft sl-grow" role="status">
          {t("{n} of {all} running", { n: running, all: services.length })}
        </span>
        {/* One that is off keeps the focus: who pressed it by the keyboard stays where they are. */}
        <button type="button" class="sl-button" aria-disabled={!!busy} onClick={() => ask("refresh")}>
          {busy === "refresh" ? t("Asking…") : t("Refresh")}
        </button>
        <button type="button" class="sl-button sl-first" aria-disabled={!!busy} onClick={() => ask("trace")}>
          {busy === "trace" ? t("Following…") : t("Trace a request")}
        </button>
      </div>
      {problem && <Problem error={problem} />}
      <Net services={services} calls={calls} hops={hops} request={request} chosen={chosen} choose={choose} />
      {hops.length > 0 && <Way hops={hops} request={request} services={services} />}
      {chosen && <Log service={chosen} fresh={request} close={close} />}
    </div>
  );
}

interface Drawn {
  services: Service[];
  calls: [string, string][];
  hops: Hop[];
  request: string;
  chosen: string;
  choose(name: string): void;
}

/** Callers to the left of those they call; the learner's browser leftmost. */
function Net(given: Drawn) {
  const { services, calls, hops, request } = given;
  const { t } = useWords();
  const called = new Set(calls.map(([, to]) => to));
  const callers = services.filter((service) => !called.has(service.name));
  const others = services.filter((service) => called.has(service.name));
  const to = (name: string) => hops.filter((hop) => hop.service === name);
  const columns = [callers, others].filter((column) => column.length);
  return (
    <div class="sl-net">
      <div class="sl-column">
        <div class="sl-browser">
          <b>{t("Your browser")}</b>
          <span class="sl-soft">{t("on this machine")}</span>
        </div>
      </div>
      {columns.map((column, index) => (
        <div class="sl-hop-column" key={index}>
          <div class="sl-column sl-arrows" aria-hidden="true">
            {column.map((service) => (
              <span key={service.name} class={to(service.name).length ? "sl-way-on" : ""}>
                {to(service.name).map((hop, n) => (
                  <Call key={n} hop={hop} hops={hops} request={request} />
                ))}
              </span>
            ))}
          </div>
          <ul
            class="sl-column"
            aria-label={index ? t("Called services") : t("Services that a browser reaches")}
          >
            {column.map((service) => (
              <li key={service.name}>
                <Box service={service} {...given} />
              </li>
            ))}
          </ul>
        </div>
      ))}
    </div>
  );
}

function Box({ service, hops, request, chosen, choose }: Drawn & { service: Service }) {
  const { t } = useWords();
  const order = hops.findIndex((hop) => hop.service === service.name) + 1;
  const box = usePlayed<HTMLDivElement>(request, (element) => {
    for (const hop of hops.filter((each) => each.service === service.name && each.inside !== null)) {
      const { arrive, leave } = pace(hop, hops);
      const ring = { boxShadow: "0 0 0 3px var(--sl-accent)" };
      element.animate([ring, ring], { delay: arrive, duration: leave - arrive });
    }
  });
  const healths = { healthy: t("healthy"), unhealthy: t("unhealthy"), unknown: t("health unknown") };
  const states: Record<string, string> = {
    created: t("created"),
    dead: t("dead"),
    exited: t("exited"),
    missing: t("missing"),
    paused: t("paused"),
    restarting: t("restarting"),
    running: t("running"),
  };
  const tone = service.state !== "running" || service.health === "unhealthy" ? "sl-down" : "sl-up";
  return (
    <div ref={box} class={`sl-service ${tone}`}>
      <span class="sl-service-head">
        <span class="sl-lamp" aria-hidden="true" />
        <b>{service.name}</b>
        {order > 0 && <span class="sl-order">{order}</span>}
      </span>
      <span class="sl-soft">
        {states[service.state] ?? service.state}
        {service.state === "running" ? `, ${healths[service.health]}` : ""}
      </span>
      <Code>{service.image}</Code>
      {service.url && (
        <a href={service.url} target="_blank" rel="noopener noreferrer">
          {service.url}
        </a>
      )}
      {service.note && <span class="sl-soft">{service.note}</span>}
      <button
        type="button"
        class="sl-button"
        aria-pressed={chosen === service.name}
        onClick={() => choose(chosen === service.name ? "" : service.name)}
      >
        {t("Log")} <span class="sl-hidden">{service.name}</span>
      </button>
    </div>
  );
}

/** When each call began and how long it took, as its caller saw it and inside the service. */
function Way({ hops, request, services }: { hops: Hop[]; request: string; services: Service[] }) {
  const { t } = useWords();
  const whole = duration(hops);
  const slow = slowness(hops);
  const colour = (name: string) =>
    `var(--sl-stage-${
      Math.max(
        0,
        services.findIndex((s) => s.name === name),
      ) % 6
    })`;
  return (
    <section class="sl-request" aria-label={t("The traced request")}>
      <p>
        {t("Request {id}", { id: request })} · {milliseconds(whole)}
      </p>
      <ol>
        {hops.map((hop, index) => (
          <li key={index} style={{ "--sl-stage": colour(hop.service) }}>
            <b>
              {index + 1} {hop.service}
            </b>
            <Code>
              {hop.method} {hop.url}
            </Code>
            <span class={`sl-answer ${failed(hop) ? "sl-removed" : "sl-added"}`}>
              {hop.status ?? hop.error}
            </span>
            <span class="sl-number">{milliseconds(hop.seconds)}</span>
            <span class="sl-track" aria-hidden="true">
              <span
                style={{
                  left: `${(100 * hop.start) / whole}%`,
                  width: `max(3px, ${(100 * hop.seconds) / whole}%)`,
                }}
              >
                {hop.inside !== null && (
                  <i style={{ width: `${Math.min(100, (100 * hop.inside) / hop.seconds)}%` }} />
                )}
              </span>
            </span>
          </li>
        ))}
      </ol>
      <p class="sl-soft">
        {t("Strong: the service itself worked on it. Faint: its caller waited.")}{" "}
        {slow > 1.5 && (
          <span class="sl-moving">
            {t("The dots above move {n} times slower than the request did.", { n: Math.round(slow) })}
          </span>
        )}
      </p>
    </section>
  );
}

function Log({ service, fresh, close }: { service: string; fresh: string; close(): void }) {
  const { t } = useWords();
  const channel = useChannel();
  const [lines, setLines] = useState<[number, string][]>();
  const [problem, setProblem] = useState<Error>();
  useEffect(() => {
    let stale = false;
    setLines(undefined);
    setProblem(undefined);
    channel.request<[number, string][]>("log", { service }).then(
      (answer) => stale || setLines(answer),
      (error) => stale || setProblem(error),
    );
    return () => {
      stale = true;
    };
  }, [service, fresh]);
  return (
    <section
      class="sl-app-log"
      aria-label={t("Log of {name}", { name: service })}
      onKeyDown={(event) => event.key === "Escape" && close()}
    >
      <div class="sl-app-log-head">
        <b class="sl-code">{t("Log of {name}", { name: service })}</b>
        <button type="button" class="sl-button" onClick={close}>
          {t("Close")}
        </button>
      </div>
      {problem && <Problem error={problem} />}
      {!lines && !problem && <p class="sl-pad sl-soft">{t("Reading the log…")}</p>}
      {lines && (
        <pre class="sl-code" role="group" tabIndex={0} aria-label={t("Log of {name}", { name: service })}>
          {lines.map(([, line], index) => (
            <div key={index} class={fresh && line.includes(fresh) ? "sl-traced" : ""}>
              {line || " "}
            </div>
          ))}
        </pre>
      )}
    </section>
  );
}

export default widget(AppView, "app");
