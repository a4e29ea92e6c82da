const [zone, sending] = element.querySelectorAll('.drop, .sending');
const input = zone.querySelector('input'), bar = sending.querySelector('progress');
const text = sending.querySelector('span');

async function send(file) {
    if (file.size > props.bytes)
        throw Error(`This file is too large: ${(file.size / 1e6).toFixed(1)} MB. The limit is ${props.takes}.`);
    const asked = await fetch(`upload?name=${encodeURIComponent(file.name)}&size=${file.size}`, {method: 'POST'});
    if (!asked.ok) throw Error(await asked.text());
    const {token} = await asked.json();
    await put(`upload/${token}`, file);
    return token;
}

function put(address, file) {
    return new Promise((done, failed) => {
        const request = new XMLHttpRequest();
        request.upload.onprogress = event => { bar.value = event.loaded / event.total; };
        request.onload = () => request.status < 300 ? done() : failed(Error(request.responseText));
        request.onerror = () => failed(Error('The connection was lost during the upload.'));
        request.open('PUT', address);
        request.send(file);
    });
}

async function sendAll(files) {
    if (!files.length || input.disabled) return;
    const tokens = [], failures = [];
    input.disabled = true;
    sending.hidden = false;
    for (const [number, file] of files.entries()) {
        text.textContent = `Uploading ${file.name}` + (files.length > 1 ? ` (${number + 1} of ${files.length})` : '');
        bar.value = 0;
        try {
            tokens.push(await send(file));
        } catch (error) {
            failures.push(`${file.name}: ${error.message}`);
        }
    }
    sending.hidden = true;
    input.disabled = false;
    input.value = '';
    trigger('upload', {tokens, failures});
}

input.addEventListener('change', () => sendAll([...input.files]));
for (const name of ['dragenter', 'dragover'])
    zone.addEventListener(name, event => { event.preventDefault(); zone.classList.add('over'); });
for (const name of ['dragleave', 'drop'])
    zone.addEventListener(name, event => { event.preventDefault(); zone.classList.remove('over'); });
zone.addEventListener('drop', event => sendAll([...event.dataTransfer.files]));
