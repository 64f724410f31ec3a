package redisio

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Renames are the names that commands have in a Redis whose configuration renames them.
// They are a text so that Credentials can be compared; the zero value renames nothing.
type Renames string

// NewRenames makes them out of new names by old ones, in any case of letters.
func NewRenames(names map[string]string) Renames {
	var out []string
	for old, name := range names {
		if old = strings.ToLower(old); name != "" && !strings.EqualFold(old, name) {
			out = append(out, old+"\x00"+name)
		}
	}
	slices.Sort(out)
	return Renames(strings.Join(out, "\x00\x00"))
}

// of is the name of a command.
func (r Renames) of(command string) string {
	if r == "" {
		return command
	}
	for pair := range strings.SplitSeq(string(r), "\x00\x00") {
		if old, name, _ := strings.Cut(pair, "\x00"); strings.EqualFold(old, command) {
			return name
		}
	}
	return command
}

// hook has go-redis send every command under its name there. What it subscribes with goes
// another way.
func (r Renames) hook() redis.Hook { return renaming{r} }

type renaming struct{ names Renames }

func (renaming) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r renaming) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.rename(cmd)
		return next(ctx, cmd)
	}
}

func (r renaming) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			r.rename(cmd)
		}
		return next(ctx, cmds)
	}
}

func (r renaming) rename(cmd redis.Cmder) {
	if args := cmd.Args(); len(args) > 0 {
		if name, ok := args[0].(string); ok {
			args[0] = r.names.of(name)
		}
	}
}
