package conf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestScriptsThatAreMissingAreRefusedWithSentinelsWords(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"runs.sh": 0o700, "plain.txt": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Parse("sentinel.conf", strings.NewReader("dir "+dir+"\nsentinel monitor m 10.0.0.1 6379 1\nsentinel notification-script m runs.sh\n"+
		"sentinel client-reconfig-script m "+dir+"/runs.sh\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CheckScripts(); err != nil || len(f.Warnings) > 0 {
		t.Errorf("good scripts: %v, warnings %v", err, f.Warnings)
	}
	f, err = Parse("sentinel.conf", strings.NewReader("dir "+dir+"\nsentinel monitor m 10.0.0.1 6379 1\nsentinel notification-script m plain.txt\n"+
		"sentinel client-reconfig-script m /nowhere\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = f.CheckScripts()
	want := `sentinel.conf:3: "sentinel notification-script m plain.txt": Notification script seems non existing or non executable.
sentinel.conf:4: "sentinel client-reconfig-script m /nowhere": Client reconfiguration script seems non existing or non executable.`
	var first *Error
	if err == nil || err.Error() != want || !errors.As(err, &first) || first.Line != 3 {
		t.Errorf("got %v, want\n%s", err, want)
	}
}
