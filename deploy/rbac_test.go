package deploy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
)

// The Roles: what the watchers need in their own namespace, and in one with Redis.
const (
	roleOwn   = "triwatch"
	roleRedis = "triwatch-redis"
)

// roleFor says which Role a package's calls are covered by. Only what watches and
// publishes works on other namespaces.
func roleFor(pkg string) string {
	for _, name := range []string{"watch", "publish"} {
		at := "github.com/triwatch/triwatch/k8sbind/" + name
		if pkg == at || strings.HasPrefix(pkg, at+"/") {
			return roleRedis
		}
	}
	return roleOwn
}

// granted returns the rights of a Role, each with the rule that gives it.
func granted(role *rbacv1.Role) map[right]string {
	out := map[right]string{}
	for i, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					out[right{group, resource, verb}] = fmt.Sprintf("rule %d of %s", i+1, role.Name)
				}
			}
		}
	}
	return out
}

// differences compares what is needed with what is granted, one sentence for each.
func differences(role string, needed []use, have map[right]string) []string {
	var out []string
	lines := map[right][]string{}
	for _, u := range needed {
		lines[u.right] = append(lines[u.right], u.at)
	}
	for r, at := range lines {
		if _, ok := have[r]; !ok {
			slices.Sort(at)
			out = append(out, fmt.Sprintf("Role %s lacks %q, needed by %s", role, r, strings.Join(slices.Compact(at), ", ")))
		}
	}
	for r, rule := range have {
		if _, ok := lines[r]; !ok {
			out = append(out, fmt.Sprintf("Role %s grants %q (%s), and nothing needs it", role, r, rule))
		}
	}
	slices.Sort(out)
	return out
}

func TestRolesGrantExactlyWhatTheCodeAsksFor(t *testing.T) {
	uses, problems := derive("..", "./k8sbind/...", "./cmd/...")
	for _, p := range problems {
		t.Error(p)
	}
	byRole := map[string][]use{}
	for _, u := range uses {
		byRole[roleFor(u.pkg)] = append(byRole[roleFor(u.pkg)], u)
	}
	objects := build(t, "base")
	for _, name := range []string{roleOwn, roleRedis} {
		for _, d := range differences(name, byRole[name], granted(one[*rbacv1.Role](t, objects, name))) {
			t.Error(d)
		}
	}
	assert.Len(t, all[*rbacv1.Role](objects), 2, "a Role that no test knows")
}

func TestNamespacesHaveTheRolesTheyNeedAndNoOther(t *testing.T) {
	objects := build(t, "overlays/namespaces")
	var found []string
	for _, r := range all[*rbacv1.Role](objects) {
		found = append(found, r.Namespace+"/"+r.Name)
		assert.Equal(t, one[*rbacv1.Role](t, build(t, "base"), r.Name).Rules, r.Rules, "%s", r.Namespace)
	}
	assert.ElementsMatch(t, []string{"triwatch/" + roleOwn, "orders/" + roleRedis, "carts/" + roleRedis}, found)
	for _, b := range all[*rbacv1.RoleBinding](objects) {
		require.Len(t, b.Subjects, 1)
		assert.Equal(t, roleOwn, b.Subjects[0].Name)
	}
}

func TestRolesNeitherUseWildcardsNorReadOthersSecrets(t *testing.T) {
	for _, dir := range complete() {
		for _, o := range build(t, dir) {
			assert.NotContains(t, fmt.Sprintf("%T", o), "ClusterRole")
		}
		for _, role := range all[*rbacv1.Role](build(t, dir)) {
			for _, rule := range role.Rules {
				assert.NotContains(t, slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*", "%s", role.Name)
				// A create has no name yet.
				if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"create"}) {
					assert.NotEmpty(t, rule.ResourceNames, "%s: every Secret of %s", role.Name, role.Namespace)
				}
			}
		}
	}
}

func TestEveryWayOfCallingTheAPIIsSeen(t *testing.T) {
	uses, problems := derive(".", "./testdata/uses")
	require.Empty(t, problems)
	got := map[string]bool{}
	for _, u := range uses {
		got[u.String()] = true
		assert.Regexp(t, `testdata/uses/uses\.go:\d+$`, u.at)
	}
	assert.ElementsMatch(t, []string{
		"delete pods", "list statefulsets.apps", "patch pods/status", "update nodes/status",
		"list endpointslices.discovery.k8s.io", "watch endpointslices.discovery.k8s.io",
		"get configmaps", "patch services", "create events", "patch events",
	}, slices.Collect(maps.Keys(got)))
}

func TestCallsThatCannotBeFollowedAreReported(t *testing.T) {
	_, problems := derive(".", "./testdata/hidden")
	require.Len(t, problems, 2, "%v", problems)
	assert.ErrorContains(t, problems[0], "hidden.go:13: RESTClient")
	assert.ErrorContains(t, problems[1], "hidden.go:18: a typed client goes")
}

func TestTooFewAndTooManyVerbsAreBothDifferences(t *testing.T) {
	need := []use{{right{"", "pods", "patch"}, "p", "p/a.go:7"}, {right{"", "pods", "get"}, "p", "p/a.go:9"}}
	have := granted(&rbacv1.Role{Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "delete"}}}})
	assert.Equal(t, []string{
		`Role r grants "delete pods" (rule 1 of ), and nothing needs it`,
		`Role r lacks "patch pods", needed by p/a.go:7`,
	}, differences("r", need, have))
	assert.Empty(t, differences("r", need[1:], granted(&rbacv1.Role{Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}}})))
}
