package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// Persistence is what an instance finds in its directory when it is started again. Zero is unknown.
type Persistence int

// The kinds of persistence.
const (
	// PersistNothing means that it comes back empty: its files are taken away.
	PersistNothing Persistence = iota + 1
	// PersistAOF means appendonly yes: it comes back with all that it had.
	PersistAOF
	// PersistRDB means save points and a BGSAVE before the last writes: it comes back with an older dump.
	PersistRDB
	// PersistOldDump means save "" and the dump.rdb that its last full sync left: it comes back with what that has.
	PersistOldDump
)

// String returns the word of flags and tables.
func (p Persistence) String() string {
	switch p {
	case PersistNothing:
		return "none"
	case PersistAOF:
		return "aof"
	case PersistRDB:
		return "rdb"
	case PersistOldDump:
		return "old-dump"
	}
	return "unknown"
}

// Variant is one kind of group.
type Variant struct {
	// Born instances are started as replicas of nobody, the others as masters.
	Born bool `json:"born"`
	// ByName replicas follow a host name when the strike comes, the others an IP address.
	ByName bool `json:"byName"`
	// Persist is what the killed master comes back with.
	Persist Persistence `json:"persist"`
}

// String returns the name of flags and tables, for example born/ip/none.
func (v Variant) String() string {
	boots, follows := "master", "ip"
	if v.Born {
		boots = "born"
	}
	if v.ByName {
		follows = "name"
	}
	return boots + "/" + follows + "/" + v.Persist.String()
}

// variants are all sixteen.
func variants() []Variant {
	var out []Variant
	for _, p := range []Persistence{PersistNothing, PersistAOF, PersistRDB, PersistOldDump} {
		for _, born := range []bool{true, false} {
			for _, byName := range []bool{false, true} {
				out = append(out, Variant{Born: born, ByName: byName, Persist: p})
			}
		}
	}
	return out
}

// parseVariants reads a list of names or of their beginnings: "born" is eight variants, "all" is every one.
func parseVariants(text string) ([]Variant, error) {
	var out []Variant
	for name := range strings.SplitSeq(text, ",") {
		n := len(out)
		for _, v := range variants() {
			known := name == "all" || name == v.String() || strings.HasPrefix(v.String(), strings.TrimSuffix(name, "/")+"/")
			if known && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
		if len(out) == n {
			return nil, fmt.Errorf("-variants %q: it names no variant that was not named before; they are %v", name, variants())
		}
	}
	return out, nil
}

// delays are how long a killed master is away.
func delays() []time.Duration {
	var out []time.Duration
	for _, ms := range []int{0, 10, 50, 200, 500, 1000} {
		out = append(out, time.Duration(ms)*time.Millisecond)
	}
	return out
}

// options is the command line of the variant's instances.
func (v Variant) options() redisproc.Options {
	var o redisproc.Options
	if v.Born {
		o.ReplicaOf = "127.0.0.1:0"
	}
	switch v.Persist {
	case PersistAOF:
		o.Args = []string{"--appendonly", "yes"}
	case PersistRDB:
		o.Args = []string{"--save", "3600 1"}
	case PersistNothing, PersistOldDump:
	}
	return o
}
