// Runs at CloudFront's edge for every request. Sets the viewer's IP address, and overwrites any value that the client sent.
function handler(event) {
    event.request.headers['x-viewer-address'] = { value: event.viewer.ip };
    return event.request;
}
