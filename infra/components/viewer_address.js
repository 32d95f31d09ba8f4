// Runs at CloudFront's edge for every request: tells the API who asks, over whatever the caller says of itself.
function handler(event) {
    event.request.headers['x-viewer-address'] = { value: event.viewer.ip };
    return event.request;
}
