package record

import (
	corev1 "k8s.io/api/core/v1"
)

// PodName returns the name of the watcher's pod with that IP, "" if the cache has
// none. A name is for people only: addresses are used again.
func (k *Keeper) PodName(ip string) string {
	name := ""
	for _, o := range k.informer.GetStore().List() {
		p, ok := o.(*corev1.Pod)
		if !ok || !hasIP(p, ip) {
			continue
		}
		if dead, _ := k.ended(p); !dead {
			return p.Name
		}
		name = p.Name
	}
	return name
}
