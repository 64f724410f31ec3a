//go:build !linux

package chaos

import "testing"

func TestChaos(t *testing.T) { t.Skip("network namespaces need root on Linux") }
