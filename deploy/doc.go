// Package deploy holds what `kubectl apply -k` needs; there is no code in it, only
// tests of the manifests.
//
// The story: base has the watchers (a Deployment of three, their account and Services),
// role what they may do where Redis is, redis a StatefulSet that is born read-only and
// the Services that follow its master. The overlays put them together:
//
//   - overlays/all: watchers and one Redis in a namespace;
//   - overlays/persistent: the same with volumes;
//   - overlays/tutorial: watchers for a StatefulSet that knows nothing of them;
//   - overlays/namespaces: one trio for Redis in two other namespaces.
//
// monitoring has alerts and a dashboard, Dockerfile the image.
//
// Duties of who deploys: a kustomization of their own with an overlay as its resource,
// the images that their nodes can pull, a password in the place of the placeholder, the
// names of their password Secrets in role/role.yaml's rule, and Kubernetes 1.30 or later.
//
// The tests build every kustomization as kubectl does, decode each object strictly, and
// hold it to what the design asks for. The Roles are compared with the calls that the
// code makes.
package deploy
