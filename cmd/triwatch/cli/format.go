package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// printJSON writes what a watcher answered.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// table writes rows in columns two spaces apart, indented, without spaces at the
// ends of lines. The columns named in right are aligned on that side.
func table(w io.Writer, indent string, rows [][]string, right ...int) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = clean(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	onRight := map[int]bool{}
	for _, i := range right {
		onRight[i] = true
	}
	for _, row := range rows {
		line := indent
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if onRight[i] {
				cell = pad + cell
			} else {
				cell += pad
			}
			line += cell + "  "
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// clean takes out what could play with the terminal: texts come from Redis servers
// and whoever names them.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// span writes milliseconds for people: 6 ms, 2.6 ms, 1.21 s, 2m11s.
func span(ms float64) string {
	switch {
	case ms < 9.95:
		return strconv.FormatFloat(math.Round(ms*10)/10, 'f', -1, 64) + " ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case ms < 9995:
		return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
	case ms < 59950:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	}
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Second).String()
}

// spanOrDash is span, and a dash for nothing.
func spanOrDash(ms float64) string {
	if ms <= 0 {
		return "-"
	}
	return span(ms)
}

// size writes bytes for people: 84 B, 1.2 kB, 3.1 MB.
func size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if f /= 1000; f < 999.95 {
			return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
		}
	}
	return strconv.FormatFloat(f/1000, 'f', 1, 64) + " TB"
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// full is an instance's name and, if that is not the same, its address.
func full(r httpapi.Ref) string {
	if r.Name == "" || r.Name == r.Address {
		return r.Address
	}
	return r.Name + " " + r.Address
}

func escaped(path []string) []string {
	out := []string{"v1"}
	for _, p := range path {
		out = append(out, url.PathEscape(p))
	}
	return out
}
