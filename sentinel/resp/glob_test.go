package resp

import (
	"strings"
	"testing"
	"time"
)

func TestGlobMatchesAsRedisDoes(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "+switch-master", true},
		{"+s*", "+sdown", true},
		{"+s*", "-sdown", false},
		{"*-master", "+switch-master", true},
		{"*-master", "+switch-masters", false},
		{"h?llo", "hello", true},
		{"h?llo", "hllo", false},
		{"h*llo", "hllo", true},
		{"h[ae]llo", "hallo", true},
		{"h[ae]llo", "hillo", false},
		{"h[^e]llo", "hallo", true},
		{"h[^e]llo", "hello", false},
		{"h[a-c]llo", "hbllo", true},
		{"h[c-a]llo", "hbllo", true},
		{"h[a-c]llo", "hdllo", false},
		{`h\?llo`, "h?llo", true},
		{`h\?llo`, "hello", false},
		{`h[\]]llo`, "h]llo", true},
		{`h[a\-z]llo`, "h-llo", true},
		{"h[ab", "hb", true},
		{"[-+]*", "+sdown", true},
		{"[-+]*", "sdown", false},
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"a**b", "axxb", true},
		{"*a*b*c", "xaxbxc", true},
		{"*a*b*c", "xaxcxb", false},
		{"+SDOWN", "+sdown", false},
		{`a\`, `a\`, true},
	} {
		equal(t, c.want, matchGlob(c.pattern, c.name), "%q on %q", c.pattern, c.name)
	}
}

func TestNastyPatternTakesNoTime(t *testing.T) {
	pattern := strings.Repeat("a*", maxChannelName/2-1) + "b"
	began := time.Now()
	for range 100 {
		truth(t, !matchGlob(pattern, strings.Repeat("a", 1000)))
	}
	less(t, time.Since(began), 5*time.Second)
}
