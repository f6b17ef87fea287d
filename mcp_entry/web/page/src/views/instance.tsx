export function Instance(_: { instanceId: string; tab: string }) {
  return null;
}
