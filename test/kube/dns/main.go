// Command dns is CoreDNS with the plugins that answer for the Services and
// pods of one cluster, and no way to ask a server outside of it.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"       // listens on the node's address only
	_ "github.com/coredns/coredns/plugin/errors"     // errors go to the log
	_ "github.com/coredns/coredns/plugin/kubernetes" // Services and pods
	_ "github.com/coredns/coredns/plugin/ready"      // says when the Services are known
)

func main() {
	// The order in which a query passes the plugins.
	dnsserver.Directives = []string{"bind", "ready", "errors", "kubernetes"}
	coremain.Run()
}
