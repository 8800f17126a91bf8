// The services of an application on their network, and a traced request; see stagelens_course/apps/view.py.

import { Code, Problem, stageColor } from "@stagelens/views/lib/components";
import { useChannel, useTrait, useTranslation, widget } from "@stagelens/views/lib/widget";
import { useEffect, useRef, useState } from "preact/hooks";
import {
  Call,
  duration,
  failed,
  type Hop,
  milliseconds,
  slowness,
  timing,
  useAnimation,
} from "./app/animation";
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
  const { t } = useTranslation();
  const channel = useChannel();
  const [network] = useTrait<string>("network");
  const [services] = useTrait<Service[]>("services");
  const [calls] = useTrait<[string, string][]>("calls");
  const [hops] = useTrait<Hop[]>("hops");
  const [request] = useTrait<string>("request_id");
  const [selected, select] = useTrait<string>("selected");
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState<Error>();
  const card = useRef<HTMLDivElement>(null);
  const send = (name: string) => {
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
    select("");
  };
  const running = services.filter((service) => service.state === "running").length;
  return (
    <div ref={card} class="sl-card sl-app">
      <div class="sl-head">
        <p class="sl-title">{t("Network {name}", { name: network })}</p>
        <span class="sl-soft sl-grow" role="status">
          {t("{n} of {all} running", { n: running, all: services.length })}
        </span>
        {/* aria-disabled instead of disabled: the button keeps the keyboard focus. */}
        <button type="button" class="sl-button" aria-disabled={!!busy} onClick={() => send("refresh")}>
          {busy === "refresh" ? t("Refreshing…") : t("Refresh")}
        </button>
        <button
          type="button"
          class="sl-button sl-primary"
          aria-disabled={!!busy}
          onClick={() => send("trace")}
        >
          {busy === "trace" ? t("Tracing…") : t("Trace a request")}
        </button>
      </div>
      {problem && <Problem error={problem} />}
      <Network
        services={services}
        calls={calls}
        hops={hops}
        request={request}
        selected={selected}
        onSelect={select}
      />
      {hops.length > 0 && <Trace hops={hops} request={request} services={services} />}
      {selected && <Log service={selected} request={request} onClose={close} />}
    </div>
  );
}

interface NetworkProps {
  services: Service[];
  calls: [string, string][];
  hops: Hop[];
  request: string;
  selected: string;
  onSelect(name: string): void;
}

/** The browser on the left, then the services that it reaches, then the services that those call. */
function Network(props: NetworkProps) {
  const { services, calls, hops, request } = props;
  const { t } = useTranslation();
  const called = new Set(calls.map(([, to]) => to));
  const callers = services.filter((service) => !called.has(service.name));
  const others = services.filter((service) => called.has(service.name));
  const hopsTo = (name: string) => hops.filter((hop) => hop.service === name);
  const columns = [callers, others].filter((column) => column.length);
  return (
    <div class="sl-network">
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
              <span key={service.name} class={hopsTo(service.name).length ? "sl-used" : ""}>
                {hopsTo(service.name).map((hop, n) => (
                  <Call key={n} hop={hop} hops={hops} request={request} />
                ))}
              </span>
            ))}
          </div>
          <ul
            class="sl-column"
            aria-label={
              index ? t("Services that other services call") : t("Services that the browser reaches")
            }
          >
            {column.map((service) => (
              <li key={service.name}>
                <ServiceBox service={service} {...props} />
              </li>
            ))}
          </ul>
        </div>
      ))}
    </div>
  );
}

function ServiceBox({ service, hops, request, selected, onSelect }: NetworkProps & { service: Service }) {
  const { t } = useTranslation();
  const order = hops.findIndex((hop) => hop.service === service.name) + 1;
  const box = useAnimation<HTMLDivElement>(request, (element) => {
    for (const hop of hops.filter((each) => each.service === service.name && each.inside !== null)) {
      const { arrive, leave } = timing(hop, hops);
      const ring = { boxShadow: "0 0 0 3px var(--sl-accent)" };
      element.animate([ring, ring], { delay: arrive, duration: leave - arrive });
    }
  });
  const healthLabels = { healthy: t("healthy"), unhealthy: t("unhealthy"), unknown: t("health unknown") };
  const stateLabels: Record<string, string> = {
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
        {stateLabels[service.state] ?? service.state}
        {service.state === "running" ? `, ${healthLabels[service.health]}` : ""}
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
        aria-pressed={selected === service.name}
        onClick={() => onSelect(selected === service.name ? "" : service.name)}
      >
        {t("Log")} <span class="sl-hidden">{service.name}</span>
      </button>
    </div>
  );
}

/** When each call began, and how long its caller waited and its service worked. */
function Trace({ hops, request, services }: { hops: Hop[]; request: string; services: Service[] }) {
  const { t } = useTranslation();
  const total = duration(hops);
  const slow = slowness(hops);
  const indexOf = (name: string) => services.findIndex((service) => service.name === name);
  return (
    <section class="sl-request" aria-label={t("The traced request")}>
      <p>
        {t("Request {id}", { id: request })} · {milliseconds(total)}
      </p>
      <ol>
        {hops.map((hop, index) => (
          <li key={index} style={{ "--sl-stage": stageColor(Math.max(0, indexOf(hop.service))) }}>
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
                  left: `${(100 * hop.start) / total}%`,
                  width: `max(3px, ${(100 * hop.seconds) / total}%)`,
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
        {t("Solid: the service worked. Faint: its caller waited.")}{" "}
        {slow > 1.5 && (
          <span class="sl-animated">
            {t("The dots above move {n} times slower than the request did.", { n: Math.round(slow) })}
          </span>
        )}
      </p>
    </section>
  );
}

function Log(props: { service: string; request: string; onClose(): void }) {
  const { service, request, onClose } = props;
  const { t } = useTranslation();
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
  }, [service, request]);
  return (
    <section
      class="sl-app-log"
      aria-label={t("Log of {name}", { name: service })}
      onKeyDown={(event) => event.key === "Escape" && onClose()}
    >
      <div class="sl-app-log-head">
        <b class="sl-code">{t("Log of {name}", { name: service })}</b>
        <button type="button" class="sl-button" onClick={onClose}>
          {t("Close")}
        </button>
      </div>
      {problem && <Problem error={problem} />}
      {!lines && !problem && <p class="sl-pad sl-soft">{t("Reading the log…")}</p>}
      {lines && (
        <pre class="sl-code" role="group" tabIndex={0} aria-label={t("Log of {name}", { name: service })}>
          {lines.map(([, line], index) => (
            <div key={index} class={request && line.includes(request) ? "sl-traced" : ""}>
              {line || " "}
            </div>
          ))}
        </pre>
      )}
    </section>
  );
}

export default widget(AppView, "app");
