package sentinel

import "time"

// HeldBackFor is how long a failover would wait for the one before.
func (s *State) HeldBackFor(now Time) time.Duration {
	if s.failedOver == never {
		return 0
	}
	return max(0, s.failedOver+s.com.Config.minInterval()-now)
}

// MayFollow is what invariant 5 says of two instances alone.
var MayFollow = mayFollow
