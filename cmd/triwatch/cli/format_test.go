package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDurationsForPeople(t *testing.T) {
	for ms, want := range map[float64]string{0: "0 ms", .04: "0 ms", 2.64: "2.6 ms", 6: "6 ms", 9.96: "10 ms", 19.4: "19 ms", 503: "503 ms", 999.4: "999 ms",
		999.6: "1.00 s", 1210: "1.21 s", 9994: "9.99 s", 9996: "10.0 s", 59900: "59.9 s", 59960: "1m0s", 131000: "2m11s", 7200000: "2h0m0s"} {
		require.Equal(t, want, span(ms), ms)
	}
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 84: "84 B", 999: "999 B", 1000: "1.0 kB", 3100000: "3.1 MB", 999960: "1.0 MB", 2_400_000_000: "2.4 GB",
		5_000_000_000_000: "5.0 TB"} {
		require.Equal(t, want, size(n), n)
	}
}
