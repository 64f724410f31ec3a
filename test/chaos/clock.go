//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// skew makes the wall clock of one running process differ from the machine's.
//
// Go asks the kernel's vDSO for the time and not libc, so a preloaded library can do
// nothing, and a time namespace has offsets for the monotonic clocks only. But every
// process has its own copy of the vDSO once it is written to, and root may write: a
// jump at the beginning of clock_gettime leads to a few instructions behind the code
// that make the system call and add an offset to CLOCK_REALTIME. Monotonic clocks stay
// true, as they do when a clock is really set.
type skew struct {
	mem    *os.File
	offset int64 // where in the process the offset's eight bytes are
}

// errNoSkew is returned where a clock cannot be made to jump.
var errNoSkew = errors.New("the wall clock of a process can only be moved on amd64")

// The stub: mov eax, 228; syscall; test edi, edi; jnz +13; mov rcx, offset; add [rsi], rcx; ret.
var stub = []byte{
	0xb8, 0xe4, 0, 0, 0, 0x0f, 0x05, 0x85, 0xff, 0x75, 13,
	0x48, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0x01, 0x0e, 0xc3,
}

const (
	stubOffset = 13 // of the eight bytes within the stub
	jumpSize   = 5
)

// newSkew prepares a process, whose clock is right until jump is called.
func newSkew(pid int) (*skew, error) {
	if runtime.GOARCH != "amd64" {
		return nil, errNoSkew
	}
	lo, hi, err := vdso(pid)
	if err != nil {
		return nil, err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open a process' memory: %w", err)
	}
	s := &skew{mem: mem}
	if err := s.install(pid, lo, hi); err != nil {
		mem.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("prepare the clock of process %d: %w", pid, err)
	}
	return s, nil
}

// vdso is where the process has it.
func vdso(pid int) (lo, hi int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close() //nolint:errcheck // only read from
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasSuffix(lines.Text(), "[vdso]") {
			_, err := fmt.Sscanf(lines.Text(), "%x-%x", &lo, &hi)
			return lo, hi, err
		}
	}
	return 0, 0, fmt.Errorf("process %d has no vDSO", pid)
}

func (s *skew) install(pid int, lo, hi int64) error {
	image := make([]byte, hi-lo)
	if _, err := s.mem.ReadAt(image, lo); err != nil {
		return err
	}
	entry, err := clockGettime(image)
	if err != nil {
		return err
	}
	free := bytes.LastIndex(image, make([]byte, 64))
	if free < 0 {
		return errors.New("the vDSO has no room")
	}
	at := int64(free+15) &^ 15
	if _, err := s.mem.WriteAt(stub, lo+at); err != nil {
		return err
	}
	s.offset = lo + at + stubOffset
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(at-entry-jumpSize)) //nolint:gosec // two's complement is what is wanted
	return stopped(pid, lo+entry, func() error {
		_, err := s.mem.WriteAt(jump, lo+entry)
		return err
	})
}

func clockGettime(image []byte) (int64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, sym := range symbols {
		if sym.Name == "__vdso_clock_gettime" {
			return int64(sym.Value), nil //nolint:gosec // an offset in two pages
		}
	}
	return 0, errors.New("the vDSO has no __vdso_clock_gettime")
}

// stopped calls do while the process stands still and no thread is in the few bytes
// from pc on.
func stopped(pid int, pc int64, do func() error) error {
	for range 100 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		away, err := awayFrom(pid, pc)
		if err == nil && away {
			err = do()
		}
		if cerr := syscall.Kill(pid, syscall.SIGCONT); err == nil {
			err = cerr
		}
		if err != nil || away {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("one of its threads is always reading the clock")
}

// awayFrom waits until all threads have stopped and looks where (proc(5), syscall).
func awayFrom(pid int, pc int64) (bool, error) {
	for range 200 {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		if err != nil || len(tasks) == 0 {
			return false, fmt.Errorf("process %d is gone", pid)
		}
		running := false
		for _, t := range tasks {
			text, err := os.ReadFile(t)
			f := strings.Fields(string(text))
			if err != nil || len(f) < 2 {
				running = true
				continue
			}
			if at, err := strconv.ParseInt(f[len(f)-1], 0, 64); err == nil && at > pc && at < pc+jumpSize {
				return false, nil
			}
		}
		if !running {
			return true, nil
		}
		time.Sleep(time.Millisecond)
	}
	return false, nil
}

// set makes the process' wall clock differ by whole seconds from now on.
func (s *skew) set(by time.Duration) error {
	sec := int64(by / time.Second)
	_, err := s.mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(sec)), s.offset) //nolint:gosec // two's complement is what is wanted
	if err != nil {
		return fmt.Errorf("set a process' clock: %w", err)
	}
	return nil
}

func (s *skew) close() { s.mem.Close() } //nolint:errcheck // nothing is buffered
