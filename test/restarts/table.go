package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// row is one line of the table: all restarts of one variant with one delay.
type row struct {
	variant Variant
	delay   int64 // ms
	made    int
	lost    int // restarts after which a key was missing on a copy
	least   int // the smallest number of keys that a copy had left
	failed  int
	how     map[string]int
	named   int // restarts in which every replica followed a name when the strike came
	why     map[string]int
	lostWhy map[string]int
	settled []float64
}

// rows makes the table's lines in the order in which the variants are listed.
func rows(results []Result) []*row {
	var out []*row
	for _, r := range results {
		i := slices.IndexFunc(out, func(x *row) bool { return x.variant == r.Variant && x.delay == r.DelayMS })
		if i < 0 {
			i = len(out)
			out = append(out, &row{variant: r.Variant, delay: r.DelayMS, least: keyCount, how: map[string]int{}, why: map[string]int{}, lostWhy: map[string]int{}})
		}
		out[i].add(r)
	}
	order := variants()
	slices.SortStableFunc(out, func(a, b *row) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.variant), slices.Index(order, b.variant)), cmp.Compare(a.delay, b.delay))
	})
	return out
}

func (x *row) add(r Result) {
	if r.Failed != "" {
		x.failed++
		return
	}
	x.made++
	x.how[r.How]++
	x.why[r.said()]++
	x.settled = append(x.settled, r.SettledMS)
	if r.Named == groupSize-1 {
		x.named++
	}
	if x.least = min(x.least, r.Kept); r.Kept < keyCount {
		x.lost++
		x.lostWhy[r.said()]++
	}
}

// said is how it went and why, without saying it twice.
func (r Result) said() string {
	if r.How == HowBackWithLess {
		return r.Why
	}
	return r.How + ": " + r.Why
}

// typical is the most frequent reason, with its count where there are others.
func typical(why map[string]int) string {
	best, all := "", 0
	for w, n := range why {
		all += n
		if n > why[best] || n == why[best] && w < best {
			best = w
		}
	}
	if best != "" && why[best] < all {
		return fmt.Sprintf("%s (%d of %d)", best, why[best], all)
	}
	return best
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// markdown prints the table, the reasons of all that lost keys, and what failed.
func markdown(w io.Writer, results []Result) error {
	var b strings.Builder
	b.WriteString("| boots as / follows / persistence | away | restarts | lost keys | fewest keys left | failed over | back with less | master again | settled after (median) | most frequent reason |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	all := rows(results)
	for _, x := range all {
		fmt.Fprintf(&b, "| %s | %d ms | %s | %d | %d | %d | %d | %d | %.0f ms | %s |\n", x.variant, x.delay, x.count(), x.lost, x.least,
			x.how[HowFailover], x.how[HowBackWithLess], x.how[HowAgain], median(x.settled), typical(x.why))
	}
	for _, x := range all {
		for _, why := range sorted(x.lostWhy) {
			fmt.Fprintf(&b, "\n- %s, %d ms: %d of %d lost keys after: %s", x.variant, x.delay, x.lostWhy[why], x.made, why)
		}
	}
	for _, r := range results {
		if r.Failed != "" {
			fmt.Fprintf(&b, "\n- %s, %d ms: FAILED: %s", r.Variant, r.DelayMS, r.Failed)
		}
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(b.String(), "\n"))
	return err
}

// count is the number of restarts, and what there is to say of it.
func (x *row) count() string {
	text := fmt.Sprint(x.made)
	if x.failed > 0 {
		text += fmt.Sprintf(" and %d failed", x.failed)
	}
	if x.variant.ByName && x.named < x.made {
		text += fmt.Sprintf(" (%d by name)", x.named)
	}
	return text
}

func sorted(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
