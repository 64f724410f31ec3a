// Package image makes container images out of files of this machine, as
// docker-archive tar files that docker load and ctr images import accept. No
// registry and no container engine takes part.
//
// Duties of the caller: none. The functions are safe for concurrent use with
// different output files.
package image
