#!/bin/bash
# Draws docs/picture/demo.svg from a run of the demo: nothing is shown that a terminal did not show.
#   docs/picture/draw.sh [OUTPUT-OF-THE-DEMO]     without a file, runs the demo (make demo before)
# Steps 4 to 6 and 8 whole, of step 3 the headline and the last line; what is left out is marked by
# a line with dots.
set -euo pipefail
cd "$(dirname "$0")/../.."
text=${1:-}
if [ -z "$text" ]; then
    text=$(mktemp)
    trap 'rm -f "$text"' EXIT
    NO_COLOR=1 tests/demo/demo.sh >"$text"
fi
grep -q '^All [0-9]* steps went as promised' "$text" ||
    { echo "this run did not end well: $text" >&2; exit 1; }

awk '
    function escaped(s) {
        gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s)
        return s
    }
    function keep(line) { kept[++count] = line }
    function gap() { if (kept[count] != "   …") keep("   …") }
    /^7\. / { step = 7; keep(""); keep("   …"); next }
    /^[0-9]+\. / {
        step = $1 + 0
        if (step >= 3 && step <= 8) { if (count) keep(""); keep($0) }
        next
    }
    /^All / { keep(""); keep($0); next }
    step == 3 {
        if (/not one port/) keep($0)
        else if (/nmap -sS/) { keep($0); after = 1 }
        else if (after) { keep($0); after = 0 }
        else if (NF) gap()
        next
    }
    (step >= 4 && step <= 6) || step == 8 { if (NF) keep($0) }
    END {
        for (i = 1; i <= count; i++) if (length(kept[i]) > widest) widest = length(kept[i])
        width = widest * 8.43 + 40; height = count * 20 + 40
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" "
        printf "width=\"%d\" height=\"%d\" ", width, height
        printf "viewBox=\"0 0 %d %d\" ", width, height
        printf "font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\">\n"
        printf "<title>Output of make demo</title>\n"
        printf "<rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"#161b22\"/>\n"
        for (i = 1; i <= count; i++) {
            line = kept[i]; fill = "#c9d1d9"; weight = ""
            if (line ~ /^[0-9]+\. /) { fill = "#ffffff"; weight = " font-weight=\"bold\"" }
            else if (line ~ /^   ok /) fill = "#7ee787"
            else if (line ~ /^   [a-z]+\$ /) fill = "#79c0ff"
            else if (line ~ /^   \| /) fill = "#a5b1bd"
            else if (line ~ /^   …/) fill = "#6e7681"
            else if (line ~ /^All /) fill = "#7ee787"
            printf "<text x=\"20\" y=\"%d\" fill=\"%s\"%s ", 30 + (i - 1) * 20, fill, weight
            printf "xml:space=\"preserve\">%s</text>\n", escaped(line)
        }
        print "</svg>"
    }' "$text" >docs/picture/demo.svg
echo "docs/picture/demo.svg"
