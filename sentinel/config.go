package sentinel

import (
	"errors"
	"fmt"
	"time"
)

// Config is how one master is to be watched. It is part of the replicated
// state. The zero value is not valid; start from DefaultConfig.
type Config struct {
	// Quorum is how many watchers must hold the master down; a majority of the
	// watchers is always needed besides.
	Quorum int `json:"quorum"`
	// DownAfter is the silence after which a watcher holds an instance down.
	DownAfter time.Duration `json:"downAfter"`
	// FailoverTimeout bounds a plan: what is not done by then is left to repair.
	FailoverTimeout time.Duration `json:"failoverTimeout"`
	// ParallelSyncs is how many replicas may sync with a new master at a time.
	ParallelSyncs int `json:"parallelSyncs"`
	// CrashWaits makes a proven crash wait for DownAfter (on-crash: wait).
	CrashWaits bool `json:"crashWaits,omitempty"`
	// MaxLoss is the estimated loss in bytes above which a crash waits for DownAfter.
	MaxLoss int64 `json:"maxLoss"`
	// WitnessMax bounds how long an advancing replica holds a failover back when the
	// watchers hear nothing; zero holds for ever.
	WitnessMax time.Duration `json:"witnessMax,omitempty"`
	// CatchUp bounds the wait for the candidate in a handover.
	CatchUp time.Duration `json:"catchUp"`
	// PauseWrites lets clients wait during a handover instead of getting READONLY.
	PauseWrites bool `json:"pauseWrites,omitempty"`
	// Observe decides and says so, but writes nothing.
	Observe bool `json:"observe,omitempty"`
	// Paused leaves every change to persons: what they ask for is done, nothing else.
	Paused bool `json:"paused,omitempty"`
	// HoldUnfenced makes a failover wait for a person while the old master may still
	// be acknowledging writes (unfenced-failover: hold).
	HoldUnfenced bool `json:"holdUnfenced,omitempty"`
	// MinInterval is the least time between an automatic failover and the next one for
	// mere silence; zero is DefaultMinInterval, negative is none. It holds back neither
	// a handover nor a failover of a master whose process is gone.
	MinInterval time.Duration `json:"minInterval,omitempty"`
	// RebootDownAfter is how long a master that was started again may load its data before
	// it is held down although it answers; zero is for ever, as in Sentinel
	// (master-reboot-down-after-period).
	RebootDownAfter time.Duration `json:"rebootDownAfter,omitempty"`
}

// DefaultMinInterval is how long after a failover the next one waits, so that a fault
// of the surroundings is not answered by moving a master around. It is shorter than
// anything that a person would do twice.
const DefaultMinInterval = 5 * time.Second

func (c Config) minInterval() time.Duration {
	if c.MinInterval == 0 {
		return DefaultMinInterval
	}
	return c.MinInterval
}

// DefaultConfig returns Sentinel's defaults where Sentinel has the setting.
func DefaultConfig() Config {
	return Config{
		Quorum:          2,
		DownAfter:       30 * time.Second,
		FailoverTimeout: 3 * time.Minute,
		ParallelSyncs:   1,
		MaxLoss:         1 << 20,
		CatchUp:         500 * time.Millisecond,
	}
}

// Validate returns every setting that cannot work, joined; nil if there is none.
func (c Config) Validate() error {
	var errs []error
	if c.Quorum < 1 {
		errs = append(errs, fmt.Errorf("quorum is %d, must be at least 1", c.Quorum))
	}
	if c.DownAfter < 50*time.Millisecond {
		errs = append(errs, fmt.Errorf("down-after is %v, must be at least 50ms: shorter pauses are normal for a Redis", c.DownAfter))
	}
	if c.FailoverTimeout < c.DownAfter {
		errs = append(errs, fmt.Errorf("failover-timeout %v is shorter than down-after %v", c.FailoverTimeout, c.DownAfter))
	}
	if c.ParallelSyncs < 1 {
		errs = append(errs, fmt.Errorf("parallel-syncs is %d, must be at least 1", c.ParallelSyncs))
	}
	if c.RebootDownAfter < 0 {
		errs = append(errs, fmt.Errorf("master-reboot-down-after-period is %v, must not be negative", c.RebootDownAfter))
	}
	if c.MaxLoss < 0 {
		errs = append(errs, fmt.Errorf("max-loss is %d, must not be negative", c.MaxLoss))
	}
	if c.CatchUp <= 0 {
		errs = append(errs, fmt.Errorf("catch-up is %v, must be positive", c.CatchUp))
	}
	return errors.Join(errs...)
}

// The rhythm of probing follows from DownAfter.

// pingMaster is the time from a master's reply to its next PING. A quarter of
// down-after, so that the silence seen is never shorter than three quarters of a
// real one: a master frozen for 0.7 x down-after must not be replaced.
func (c Config) pingMaster() time.Duration { return c.DownAfter / 4 }

// pingReplica is the same for replicas: nothing is decided on their silence alone.
func (c Config) pingReplica() time.Duration { return c.DownAfter / 2 }

// overdue is how long after its due time a reply makes the master suspect.
func (c Config) overdue() time.Duration {
	return min(max(c.DownAfter/20, 20*time.Millisecond), 500*time.Millisecond)
}

// confirm is how long a watcher may take for a fresh answer.
func (c Config) confirm() time.Duration {
	return min(max(c.DownAfter/20, 20*time.Millisecond), 250*time.Millisecond)
}

// recent is how old an INFO may be to be acted upon.
func (c Config) recent() time.Duration { return 2*c.confirm() + 50*time.Millisecond }

// actionTimeout bounds one write to Redis.
func (c Config) actionTimeout() time.Duration {
	return min(max(c.DownAfter/2, 250*time.Millisecond), 2*time.Second)
}
