package main

import (
	"runtime"
	"runtime/debug"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// version is set by the linker.
var version = ""

// buildInfo says what this program was built from.
func buildInfo() httpapi.Version {
	v := httpapi.Version{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Built = s.Value
		}
	}
	return v
}
