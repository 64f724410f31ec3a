package redisio_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// killChildren ends the children of a server that this test has started.
func killChildren(t *testing.T, parent int) {
	t.Helper()
	var last string
	eventually(t, "a child to end", func() (string, bool) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
		if err != nil {
			return err.Error(), false
		}
		last = string(data)
		killed := false
		for _, text := range strings.Fields(last) {
			if pid, err := strconv.Atoi(text); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed = true
			}
		}
		return last, killed
	})
}

func count(list, word string) int { return strings.Count(list, word) }
