// A Dockerfile's parts for the eye. The kernel's parser says what is right; this says only what looks like what.

type Token = [text: string, kind: "" | "comment" | "keyword" | "flag" | "string" | "variable" | "heredoc"];

const KEYWORDS =
  /^(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)$/i;
const PART =
  /(--[a-z][\w-]*(?==|\s|$))|("(?:[^"\\]|\\.)*"?|'[^']*'?)|(\$\{[^}]*\}?|\$\w+)|(\s+AS\s+)|([^\s"'$-]+|\s+|.)/gi;

/** Tokens line by line; continuation lines and here-documents go on with what began above. */
export function colour(source: string): Token[][] {
  let goesOn = false;
  let waiting: string[] = [];
  return source.split("\n").map((line) => {
    if (waiting.length) {
      if (line.trim() === waiting[0]) waiting.shift();
      return [[line, "heredoc"]];
    }
    if (/^\s*#/.test(line)) return [[line, "comment"]];
    const tokens = goesOn ? parts(line) : instruction(line);
    const words = [...line.matchAll(/<<-?\s*["']?(\w+)["']?/g)].map((match) => match[1]);
    if (/^\s*(RUN|COPY|ADD)\b/i.test(line)) waiting = words;
    goesOn = /\\\s*$/.test(line);
    return tokens;
  });
}

function instruction(line: string): Token[] {
  const match = /^(\s*)(\S+)(.*)$/.exec(line);
  if (!match || !KEYWORDS.test(match[2])) return parts(line);
  const rest = match[2].toUpperCase() === "ONBUILD" ? instruction(match[3]) : parts(match[3]);
  return [[match[1], ""], [match[2], "keyword"], ...rest];
}

function parts(text: string): Token[] {
  return [...text.matchAll(PART)].map(([whole, flag, quoted, variable, as]): Token => {
    if (flag) return [whole, "flag"];
    if (quoted) return [whole, "string"];
    if (variable) return [whole, "variable"];
    return [whole, as ? "keyword" : ""];
  });
}
