// Package upgrade rolls real watchers between builds of different levels, under
// writers and over real redis-servers, and kills the master in every mix.
//
// Two pairs of builds are rolled: the last commit that shipped another level and
// this tree; and this tree and a copy of it whose level is one higher, which shows
// what this build does when it is the old one. The first is left out, with a
// sentence, where the history does not reach that far (a shallow clone).
//
// It takes two to three minutes, so it runs only when asked to: make test-upgrade.
package upgrade
