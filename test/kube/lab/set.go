package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Set is one watched StatefulSet. Password may be empty.
type Set struct {
	*Lab
	Namespace string
	// Watchers is the namespace of the watchers, if it is another one.
	Watchers    string
	StatefulSet string
	// Master is the name that the watchers know it by.
	Master string
	// Service is the master Service.
	Service  string
	Password string
	// App is the value of the pods' label app.
	App string
}

// Status is what a watcher says of a master, as far as scenarios look at it.
type Status struct {
	Stale     bool   `json:"stale"`
	HasQuorum bool   `json:"hasQuorum"`
	Leader    string `json:"leader"`
	Watchers  int    `json:"watchers"`
	Reachable int    `json:"watchersReachable"`
	Master    struct {
		State       string `json:"state"`
		Note        string `json:"note"`
		EpochNumber uint64 `json:"epochNumber"`
		Current     struct {
			ID      string `json:"id"`
			Name    string `json:"name"`
			Address string `json:"address"`
		} `json:"current"`
		WatchersAgree int `json:"watchersAgree"`
		Services      []struct {
			Name        string `json:"name"`
			EpochNumber uint64 `json:"epochNumber"`
			Follows     string `json:"follows"`
		} `json:"services"`
		Instances []struct {
			ID     string `json:"id"`
			Name   string `json:"name"`
			Master bool   `json:"master"`
			Health string `json:"health"`
			Link   string `json:"link"`
		} `json:"instances"`
	} `json:"master"`
}

// ErrNoWatcher is returned when no watcher answers.
var ErrNoWatcher = errors.New("no watcher answers")

func (s *Set) watchers() string {
	if s.Watchers != "" {
		return s.Watchers
	}
	return s.Namespace
}

// WatcherPods returns the watchers' pods that have an address, those being deleted last.
func (s *Set) WatcherPods(ctx context.Context) ([]corev1.Pod, error) {
	return s.pods(ctx, s.watchers(), "app.kubernetes.io/name=triwatch")
}

// RedisPods returns the set's pods that have an address.
func (s *Set) RedisPods(ctx context.Context) ([]corev1.Pod, error) {
	return s.pods(ctx, s.Namespace, "app="+s.App)
}

func (s *Set) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := s.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	out := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Status.PodIP == "" || p.Status.Phase != corev1.PodRunning })
	slices.SortStableFunc(out, func(a, b corev1.Pod) int { return deleting(a) - deleting(b) })
	return out, nil
}

func deleting(p corev1.Pod) int {
	if p.DeletionTimestamp != nil {
		return 1
	}
	return 0
}

// Status asks one watcher after the other until one answers.
func (s *Set) Status(ctx context.Context) (Status, error) {
	pods, err := s.WatcherPods(ctx)
	if err != nil {
		return Status{}, err
	}
	why := ErrNoWatcher
	for _, p := range pods {
		st, err := s.StatusOf(ctx, p.Status.PodIP)
		if err == nil {
			return st, nil
		}
		why = errors.Join(why, err)
	}
	return Status{}, why
}

// StatusOf asks the watcher at an address.
func (s *Set) StatusOf(ctx context.Context, ip string) (st Status, err error) {
	body, err := get(ctx, "http://"+ip+":8080/v1/masters/"+s.Master)
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("read status of %s: %w: %.200s", ip, err, body)
	}
	return st, nil
}

// Metrics returns the metrics of the watcher at an address, as text.
func Metrics(ctx context.Context, ip string) (string, error) {
	b, err := get(ctx, "http://"+ip+":8080/metrics")
	return string(b), err
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // pods come and go
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %.200s", url, res.Status, body)
	}
	return body, err
}

// Well waits until every watcher of three is there and agrees, the Service follows the
// committed master, and so many instances are up and in sync.
func (s *Set) Well(ctx context.Context, instances int, limit time.Duration) (Status, error) {
	var st Status
	err := Wait(ctx, limit, s.Namespace+"/"+s.Master+" to be well", func(ctx context.Context) (string, error) {
		var err error
		if st, err = s.Status(ctx); err != nil {
			return "", err
		}
		return s.illness(ctx, st, instances)
	})
	return st, err
}

// illness says what is wrong, "" if nothing is.
func (s *Set) illness(ctx context.Context, st Status, instances int) (string, error) {
	m := st.Master
	switch {
	case st.Stale || !st.HasQuorum || st.Watchers != 3 || st.Reachable != 3:
		return fmt.Sprintf("watchers: quorum %t, stale %t, %d of %d reachable", st.HasQuorum, st.Stale, st.Reachable, st.Watchers), nil
	case m.State != "ok" || m.WatchersAgree != 3:
		return fmt.Sprintf("%s, %d agree: %s", m.State, m.WatchersAgree, m.Note), nil
	case len(m.Instances) != instances:
		return fmt.Sprintf("%d instances, not %d", len(m.Instances), instances), nil
	}
	for _, i := range m.Instances {
		if i.Health != "up" || !i.Master && i.Link != "up" {
			return fmt.Sprintf("%s is %s, link %s", i.Name, i.Health, i.Link), nil
		}
	}
	if s.Service == "" {
		return "", nil
	}
	svc, err := s.Client().CoreV1().Services(s.Namespace).Get(ctx, s.Service, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get service: %w", err)
	}
	if got := svc.Spec.Selector["triwatch.io/instance"]; got != m.Current.ID {
		return fmt.Sprintf("service selects %s, the master is %s", got, m.Current.ID), nil
	}
	return s.labels(ctx, st)
}

// labels says which pod's role is wrong.
func (s *Set) labels(ctx context.Context, st Status) (string, error) {
	pods, err := s.RedisPods(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range pods {
		role, reads := "replica", "yes"
		if string(p.UID) == st.Master.Current.ID {
			role, reads = "master", ""
		}
		if p.DeletionTimestamp == nil && (p.Labels["triwatch.io/role"] != role || p.Labels["triwatch.io/reads"] != reads) {
			return fmt.Sprintf("pod %s: role %q, reads %q", p.Name, p.Labels["triwatch.io/role"], p.Labels["triwatch.io/reads"]), nil
		}
	}
	return "", nil
}

// Moved waits for a later epoch than before.
func (s *Set) Moved(ctx context.Context, before Status, limit time.Duration) (Status, error) {
	var st Status
	err := Wait(ctx, limit, "another master than "+before.Master.Current.Name, func(ctx context.Context) (string, error) {
		var err error
		if st, err = s.Status(ctx); err != nil {
			return "", err
		}
		if st.Master.EpochNumber > before.Master.EpochNumber && st.Master.Current.ID != before.Master.Current.ID {
			return "", nil
		}
		return fmt.Sprintf("epoch %d, %s", st.Master.EpochNumber, st.Master.Current.Name), nil
	})
	return st, err
}

// ServiceAddr returns the master Service's ClusterIP and port.
func (s *Set) ServiceAddr(ctx context.Context) (string, error) {
	svc, err := s.Client().CoreV1().Services(s.Namespace).Get(ctx, s.Service, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get service: %w", err)
	}
	return fmt.Sprintf("%s:%d", svc.Spec.ClusterIP, svc.Spec.Ports[0].Port), nil
}

// SentinelAddr returns the Sentinel Service's ClusterIP and port.
func (s *Set) SentinelAddr(ctx context.Context) (string, error) {
	svc, err := s.Client().CoreV1().Services(s.watchers()).Get(ctx, "triwatch", metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get service: %w", err)
	}
	return svc.Spec.ClusterIP + ":26379", nil
}

// Gone waits until a pod with that UID does not exist any more.
func (s *Set) Gone(ctx context.Context, namespace, name, uid string, limit time.Duration) error {
	return Wait(ctx, limit, "pod "+name+" to be gone", func(ctx context.Context) (string, error) {
		p, err := s.Client().CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && string(p.UID) != uid {
			return "", nil
		}
		return "it is there", err
	})
}

// Redis runs one command on the Redis of a pod and returns what redis-cli prints.
func (s *Set) Redis(ctx context.Context, pod string, words ...string) (string, error) {
	command := append([]string{"redis-cli", "--no-auth-warning"}, words...)
	if s.Password != "" {
		command = slices.Insert(command, 1, "-a", s.Password)
	}
	out, err := s.Exec(ctx, s.Namespace, pod, "redis", command...)
	return strings.TrimSpace(out), err
}
